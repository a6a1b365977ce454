"""`hae bench`: measure this machine, against a peer in the same run."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from app import embedded
from app.bench import lifecycle as lifecycle_bench
from app.bench.pgbench import simple_update_tps
from app.settings import LogSettings
from app.store import migrate
from app.store.scratch import scratch_database, server_setting, settle
from app.telemetry import disable_tracing, setup_logging

commands = typer.Typer(no_args_is_help=True, help="Benchmarks; each prints one JSON object with --json.")


def add_to(cli: typer.Typer) -> None:
    cli.add_typer(commands, name="bench")


@commands.callback()
def every() -> None:
    """Benchmarks run on embedded servers of their own, in a temporary directory, and leave nothing behind."""


@commands.command()
def lifecycle(
    jobs: Annotated[int, typer.Option(min=100, help="Jobs in each run")] = 10_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each; the median counts")] = 3,
    nodes: Annotated[int, typer.Option(min=4, help="Nodes of 8 slots")] = 256,
    pgbench_s: Annotated[int, typer.Option(min=1, help="Seconds of each pgbench run")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Durable jobs a second, submit to completed, through the job graph: one process, fsync on.

    The peer is pgbench's simple-update on the same server, taking turns with the runs.
    """
    setup_logging(LogSettings(level="warning"), "bench")
    disable_tracing()
    with tempfile.TemporaryDirectory(prefix="hae-bench-") as scratch:
        Path(scratch).chmod(0o755)
        with embedded.start(Path(scratch) / "data") as servers:
            rates, peers = uvloop.run(_lifecycle(servers.database_url, jobs, runs, nodes, pgbench_s))
    rate, peer = statistics.median(rates), statistics.median(peers)
    found = {
        "jobs_per_s": round(rate, 1),
        "pgbench_simple_update_tps": round(peer, 1),
        "ratio_pgbench": round(rate / peer, 4),
    }
    if as_json:
        print(json.dumps(found))
        return
    print(f"{rate:,.0f} durable jobs/s (median of {', '.join(f'{one:,.0f}' for one in rates)})")
    print(f"{peer:,.0f} pgbench simple-update transactions/s; ratio {found['ratio_pgbench']}")


async def _lifecycle(url: str, jobs: int, runs: int, nodes: int, pgbench_s: int) -> tuple[list[float], list[float]]:
    for name in ("fsync", "synchronous_commit"):
        if await server_setting(url, name) != "on":
            raise RuntimeError(f"{name} is off on this server: the figures would mean nothing")
    rates, peers = [], []
    for number in range(runs):
        async with scratch_database(url) as database:
            await asyncio.to_thread(migrate.upgrade, database)
            await settle(database)
            rates.append((await lifecycle_bench.measure(database, jobs, node_count=nodes)).jobs_per_s)
        async with scratch_database(url) as database:
            peers.append(await simple_update_tps(database, seconds=pgbench_s))
        print(f"run {number + 1} of {runs}: {rates[-1]:,.0f} jobs/s, pgbench {peers[-1]:,.0f}/s", file=sys.stderr)
    return rates, peers
