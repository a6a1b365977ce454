"""`hae bench lifecycle`: durable jobs a second through worker processes, against peers in the same run."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from app.bench import growth, latency, peers
from app.bench import lifecycle as bench
from app.bench.areas import breakdown
from app.bench.children import Processes
from app.bench.databases import bring_online, prepared
from app.bench.growth_rows import SHORTEST
from app.bench.lifecycle import Lifecycle
from app.bench.pgbench import simple_update_tps
from app.cli import bench_profile
from app.cli.bench_servers import measured, tell
from app.cli.environment import CommandError
from app.embedded import EmbeddedServers
from app.store.scratch import scratch_database


class Plan(msgspec.Struct, frozen=True):
    """What is measured, how often and how large."""

    jobs: int
    runs: int
    workers: list[int]
    nodes: int
    in_flight: int
    pgbench_s: int
    peer_jobs: int
    per_s: float
    latency_s: float
    finished: int
    history: int


def lifecycle(
    jobs: Annotated[int, typer.Option(min=100, help="Jobs in each run")] = 10_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each; the median counts")] = 3,
    workers: Annotated[list[int] | None, typer.Option(min=1, help="Worker processes; may be repeated")] = None,
    nodes: Annotated[int, typer.Option(min=4, help="Nodes of 8 slots")] = 256,
    in_flight: Annotated[int, typer.Option(min=1, help="Jobs under way at a time, at most")] = 1024,
    pgbench_s: Annotated[int, typer.Option(min=1, help="Seconds of each pgbench run")] = 5,
    peer_jobs: Annotated[
        int, typer.Option(min=0, help="Jobs of LangGraph's saver and of DBOS with each of their tunings; 0 = neither")
    ] = 150,
    per_s: Annotated[float, typer.Option(min=1, help="Jobs a second while the time to an offer is measured")] = 200.0,
    latency_s: Annotated[float, typer.Option(min=0, help="For how many seconds; 0 = not at all")] = 10.0,
    finished: Annotated[int, typer.Option(min=0, help="Also measure with so many finished jobs in the database")] = 0,
    history: Annotated[int, typer.Option(min=0, help="Their history rows; 0 = ten each")] = 0,
    profile: Annotated[
        bool, typer.Option("--profile", help="Only show where a worker's time goes (cProfile, which slows it)")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Durable jobs a second through the job graph, from submission to completion, by real worker processes.

    An agent and the nodes are played by another process through the service layer; every commit waits for the disk. The
    peers live the same seven steps with two waits on the same server: plain LangGraph with its AsyncPostgresSaver, and
    DBOS, each with the best of several tunings; and pgbench's simple-update. Also measured: the time from a submission
    over HTTP until a node has its offer.

    Examples: hae bench lifecycle --json

    hae bench lifecycle --finished 5000000 --history 50000000 --peer-jobs 0 --latency-s 0
    """
    if profile:
        _profile(jobs, nodes, in_flight, as_json=as_json)
        return
    if finished and history and history < finished * SHORTEST:
        raise CommandError(f"--history must be at least {SHORTEST} times --finished")
    directory = tempfile.gettempdir()
    needed, free = growth.disk_bytes(finished, history or 10 * finished), shutil.disk_usage(directory).free
    if finished and needed > free:
        raise CommandError(
            f"so much takes some {needed / 1e9:.0f} GB, and {directory} has {free / 1e9:.0f} GB left: "
            "make room, or set TMPDIR to a larger directory that others may enter"
        )
    if peer_jobs and (missing := peers.missing()):
        raise CommandError(f"{missing}; or leave the peers out with --peer-jobs 0")
    counts = sorted({1, *(workers or [1, 2])})
    plan = Plan(
        jobs, runs, counts, nodes, in_flight, pgbench_s, peer_jobs, per_s, latency_s, finished, history or 10 * finished
    )
    found = measured(lambda servers, _: _measure(servers, plan))
    if as_json:
        print(json.dumps(found))
    else:
        _show(found)


async def _measure(servers: EmbeddedServers, plan: Plan) -> dict[str, Any]:
    found = await _engine(servers, plan)
    rate = found["jobs_per_s"]
    if plan.peer_jobs:
        for name, module in (("langgraph_saver", "peers_langgraph"), ("dbos", "peers_dbos")):
            peer = await _peer(servers, module, plan.peer_jobs)
            found[f"{name}_jobs_per_s"] = round(peer["jobs_per_s"], 1)
            found[f"ratio_{name.removesuffix('_saver')}"] = round(rate / peer["jobs_per_s"], 1)
            found[f"{name}_tried"] = peer["tried"]
            tell(f"{name}: {peer['tried']}")
    if plan.latency_s:
        async with prepared(servers.database_url, plan.nodes) as database:
            waits = await latency.measure(database, servers.redis_url, per_s=plan.per_s, seconds=plan.latency_s)
        found["submit_to_offer_ms"] = {
            "p50": waits.p50_ms,
            "p99": waits.p99_ms,
            "answer_p50": waits.answer_p50_ms,
            "per_s": plan.per_s,
        }
        tell(f"submission to offer: p50 {waits.p50_ms:g} ms, p99 {waits.p99_ms:g} ms; cores {_busy(waits.cores)}")
    if plan.finished:
        found["grown"] = await _grown(servers, plan)
    return {**found, "runs": plan.runs, "jobs": plan.jobs, "in_flight": plan.in_flight, "nodes": plan.nodes}


async def _engine(servers: EmbeddedServers, plan: Plan) -> dict[str, Any]:
    """The engine with each number of workers, and pgbench, in turns."""
    rates: dict[int, list[float]] = {number: [] for number in plan.workers}
    tps: list[float] = []
    cores: dict[str, float] = {}
    merged = 0
    for number in range(plan.runs):
        for workers in plan.workers:
            async with prepared(servers.database_url, plan.nodes) as database:
                run = await _run(servers, plan, database, workers)
            rates[workers].append(run.jobs_per_s)
            merged += run.merged
            if workers == 1:
                cores = dict(run.cores)
            tell(f"run {number + 1} of {plan.runs}: {_told(run, workers)}")
        async with scratch_database(servers.database_url) as database:
            tps.append(await simple_update_tps(database, seconds=plan.pgbench_s))
        tell(f"run {number + 1} of {plan.runs}: pgbench {tps[-1]:,.0f} transactions/s")
    rate, peer = statistics.median(rates[1]), statistics.median(tps)
    return {
        "jobs_per_s": round(rate, 1),
        "pgbench_simple_update_tps": round(peer, 1),
        "ratio_pgbench": round(rate / peer, 4),
        "workers": {str(number): round(statistics.median(each), 1) for number, each in rates.items()},
        "cores": cores,
        "waited_once": merged,
    }


async def _peer(servers: EmbeddedServers, module: str, jobs: int) -> dict[str, Any]:
    async with (
        scratch_database(servers.database_url) as database,
        Processes(database, servers.redis_url) as processes,
    ):
        return await processes.play(f"app.bench.{module}", {"jobs": jobs})


async def _grown(servers: EmbeddedServers, plan: Plan) -> dict[str, Any]:
    """The engine on a database with a year behind it, and on an empty one, in turns."""
    grown, empty = [], []
    async with prepared(servers.database_url, 0) as old:
        rows = await growth.grow(old, finished=plan.finished, history=plan.history, told=tell)
        tell("vacuuming and analysing")
        await bring_online(old, plan.nodes)
        for number in range(plan.runs):
            run = await _run(servers, plan, old, 1)
            grown.append(run.jobs_per_s)
            tell(f"run {number + 1} of {plan.runs}, grown: {_told(run, 1)}")
            async with prepared(servers.database_url, plan.nodes) as database:
                run = await _run(servers, plan, database, 1)
            empty.append(run.jobs_per_s)
            tell(f"run {number + 1} of {plan.runs}, empty: {_told(run, 1)}")
    with_history, without = statistics.median(grown), statistics.median(empty)
    return {
        "finished": plan.finished,
        "history_rows": rows,
        "jobs_per_s": round(with_history, 1),
        "empty_jobs_per_s": round(without, 1),
        "loss": round(1 - with_history / without, 4),
    }


async def _run(servers: EmbeddedServers, plan: Plan, database: str, workers: int) -> Lifecycle:
    return await bench.measure(database, servers.redis_url, plan.jobs, workers=workers, in_flight=plan.in_flight)


def _profile(jobs: int, nodes: int, in_flight: int, *, as_json: bool) -> None:
    async def work(servers: EmbeddedServers, directory: Path) -> None:
        file = str(directory / "worker.pstats")
        async with prepared(servers.database_url, nodes) as database:
            run = await bench.measure(database, servers.redis_url, jobs, in_flight=in_flight, profiles={0: file})
        found = breakdown(file)
        if as_json:
            told = bench_profile.as_dict(run.jobs, run.seconds, run.cores, found)
            print(json.dumps({**told, "waves": run.waves}))
        else:
            print(f"{run.waves} waves")
            bench_profile.show(run.jobs, run.seconds, run.cores, found)

    measured(work)


def _told(run: Lifecycle, workers: int) -> str:
    return (
        f"{run.jobs_per_s:,.0f} jobs/s with {workers} worker{'s' if workers > 1 else ''} in {run.waves} waves; "
        f"{run.merged} jobs waited once; cores {_busy(run.cores)}"
    )


def _busy(cores: Any) -> str:
    return ", ".join(f"{name} {each:.2f}" for name, each in cores.items())


def _show(found: dict[str, Any]) -> None:
    print(f"{found['jobs_per_s']:,.0f} durable jobs/s with one worker process")
    for number, rate in found["workers"].items():
        if number != "1":
            print(f"{rate:,.0f} with {number}")
    for name, key, ratio in (
        ("LangGraph with its PostgreSQL saver", "langgraph_saver_jobs_per_s", "ratio_langgraph"),
        ("DBOS", "dbos_jobs_per_s", "ratio_dbos"),
    ):
        if key in found:
            print(f"{found[key]:,.0f} by {name}; ratio {found[ratio]:g}")
    print(f"{found['pgbench_simple_update_tps']:,.0f} pgbench simple-update/s; ratio {found['ratio_pgbench']}")
    if waits := found.get("submit_to_offer_ms"):
        print(f"submission to offer: p50 {waits['p50']:g} ms, p99 {waits['p99']:g} ms at {waits['per_s']:g} jobs/s")
    if grown := found.get("grown"):
        print(
            f"{grown['jobs_per_s']:,.0f} with {grown['finished']:,} finished jobs and {grown['history_rows']:,} "
            f"history rows, {grown['empty_jobs_per_s']:,.0f} without: {grown['loss']:.1%} lost"
        )
