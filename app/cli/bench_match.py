"""`hae bench match` and `hae bench view`: what a process knows of the nodes, and how fast."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from app import embedded
from app.bench import match as match_bench
from app.bench import view as view_bench
from app.settings import LogSettings
from app.store import migrate
from app.store.db import Database
from app.store.scratch import scratch_database, settle
from app.telemetry import setup_logging


def match(
    nodes: Annotated[int, typer.Option(min=1, max=4_000_000, help="Nodes in the network")] = 10_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs, in turns with the peers; the median counts")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Microseconds a match: top 5 of all feasible nodes under the default policy, in one process.

    The peers answer the same queries on the same nodes in a local PostgreSQL: exact SQL with covering indexes (the
    faster of two statements), and the query of the engine before this one, which is not exact. Every 1,024 queries the
    load of 1,024 nodes changes, off the clock. The answers are held against the exact SQL's.
    """
    setup_logging(LogSettings(level="warning"), "bench")
    with tempfile.TemporaryDirectory(prefix="hae-bench-") as scratch:
        Path(scratch).chmod(0o755)
        with embedded.start(Path(scratch) / "data") as servers:
            found = uvloop.run(_measured(servers.database_url, nodes, runs))
    if as_json:
        print(json.dumps(found))
        return
    print(f"{found['match_us_p50']:g} us a match (p50), {found['match_us_p99']:g} us (p99) among {nodes:,} nodes")
    print(f"{found['exact_sql_us_p50']:,} us by exact SQL; ratio {found['ratio_exact_sql']}")
    print(f"{found['legacy_sql_us_p50']:,} us by the former engine's query; ratio {found['ratio_legacy_sql']}")
    print(f"{found['mismatches']} mismatches")


async def _measured(url: str, nodes: int, runs: int) -> dict[str, Any]:
    async with scratch_database(url) as database:
        found = await match_bench.measure(
            database, nodes=nodes, runs=runs, told=lambda line: print(line, file=sys.stderr)
        )
    return found.told()


def view(
    nodes: Annotated[int, typer.Option(min=1, help="Nodes in the network")] = 1_000_000,
    starts: Annotated[int, typer.Option(min=1, help="Cold starts; the median counts")] = 3,
    commits: Annotated[int, typer.Option(min=1, help="Commits of 256 nodes to take in")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Seconds until a process that starts knows all nodes, and how fast it takes in what changes after that.

    On a real PostgreSQL, which is filled first: some 20 s for a million nodes.
    """
    setup_logging(LogSettings(level="warning"), "bench")
    with tempfile.TemporaryDirectory(prefix="hae-bench-") as scratch:
        Path(scratch).chmod(0o755)
        with embedded.start(Path(scratch) / "data") as servers:
            found = uvloop.run(_view(servers.database_url, nodes, starts, commits))
    if as_json:
        print(json.dumps(found))
        return
    bytes_each = found["bytes_per_node"]
    print(f"{found['nodes']:,} nodes known after {found['cold_start_s']:g} s, in {bytes_each:g} bytes each")
    print(f"{found['deltas_per_s']:,} news/s taken in; a look after a commit takes {found['refresh_ms_p50']:g} ms")


async def _view(url: str, count: int, starts: int, commits: int) -> dict[str, float]:
    async with scratch_database(url) as database:
        await asyncio.to_thread(migrate.upgrade, database)
        db = Database(database, pool_size=2, application="hae bench")
        try:
            ids = await view_bench.fill(db, count)
            await settle(database)
            return await view_bench.measure(db, ids, starts=starts, commits=commits)
        finally:
            await db.close()
