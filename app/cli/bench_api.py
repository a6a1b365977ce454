"""`hae bench api`: how many jobs a second one API process takes in."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Annotated, Any

import typer

from app.bench import api as bench
from app.bench.api import Load, Submits
from app.bench.areas import breakdown
from app.bench.databases import prepared
from app.cli import bench_profile
from app.cli.bench_servers import measured, tell
from app.embedded import EmbeddedServers


def api(
    calls: Annotated[int, typer.Option(min=100, help="Submissions in each run")] = 5_000,
    clients: Annotated[int, typer.Option(min=1, help="Connections that submit at a time")] = 64,
    batches: Annotated[int, typer.Option(min=1, help="Batches in each run")] = 40,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="Jobs in a batch")] = 1_000,
    batch_clients: Annotated[int, typer.Option(min=1, help="Connections that send batches at a time")] = 4,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each; the median counts")] = 3,
    profile: Annotated[
        str, typer.Option(help="Only show where the server's time goes: submit or batch (cProfile, which slows it)")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Jobs a second that one `hae serve` process takes in over HTTP: one by one, and by POST /v1/jobs:batch.

    Every answer comes after its commit, and every commit waits for the disk. No worker runs meanwhile. The clients are
    a process of their own on the same machine.
    """
    if profile not in ("", "submit", "batch"):
        raise typer.BadParameter("must be submit or batch", param_hint="--profile")
    single = Load(calls, clients)
    many = Load(batches, batch_clients, batch, warm_up=4)
    if profile:
        _profile(single if profile == "submit" else many, as_json=as_json)
        return
    found = measured(lambda servers, _: _measure(servers, runs, single, many))
    if as_json:
        print(json.dumps(found))
        return
    print(f"{found['submits_per_s']:,.0f} submissions/s by {clients} clients, p99 {found['submit_ms']['p99']:g} ms")
    print(f"{found['batch_jobs_per_s']:,.0f} jobs/s in batches of {batch:,}")


async def _measure(servers: EmbeddedServers, runs: int, single: Load, many: Load) -> dict[str, Any]:
    singles: list[Submits] = []
    batches: list[Submits] = []
    for number in range(runs):
        async with prepared(servers.database_url, 0) as database:
            one, other = await bench.measure(database, servers.redis_url, (single, many))
        singles.append(one)
        batches.append(other)
        for load, run in ((single, one), (many, other)):
            tell(
                f"run {number + 1} of {runs}: {run.jobs_per_s:,.0f} jobs/s in calls of {max(1, load.batch)}, "
                f"p99 {run.p99_ms:g} ms; cores {', '.join(f'{name} {each:.2f}' for name, each in run.cores.items())}"
            )
    return {
        "submits_per_s": round(statistics.median(one.jobs_per_s for one in singles), 1),
        "submit_ms": {
            "p50": statistics.median(one.p50_ms for one in singles),
            "p99": statistics.median(one.p99_ms for one in singles),
        },
        "batch_jobs_per_s": round(statistics.median(one.jobs_per_s for one in batches), 1),
        "batch_ms": {"p50": statistics.median(one.p50_ms for one in batches)},
        "clients": single.clients,
        "batch": many.batch,
        "runs": runs,
    }


def _profile(load: Load, *, as_json: bool) -> None:
    async def work(servers: EmbeddedServers, directory: Path) -> None:
        file = str(directory / "serve.pstats")
        async with prepared(servers.database_url, 0) as database:
            (run,) = await bench.measure(database, servers.redis_url, (load,), profile=file)
        found = breakdown(file)
        if as_json:
            print(json.dumps(bench_profile.as_dict(load.jobs, run.seconds, run.cores, found)))
        else:
            bench_profile.show(load.jobs, run.seconds, run.cores, found)

    measured(work)
