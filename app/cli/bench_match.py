"""`hae bench match`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from app import embedded
from app.bench import match as match_bench
from app.settings import LogSettings
from app.store.scratch import scratch_database
from app.telemetry import setup_logging


def match(
    nodes: Annotated[int, typer.Option(min=1, max=4_000_000, help="Nodes in the network")] = 10_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs, in turns with the peers; the median counts")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Microseconds a match: top 5 of all feasible nodes under the default policy, in one process.

    The peers answer the same queries on the same nodes in a local PostgreSQL: exact SQL with covering indexes (the
    faster of two statements), and the query of the engine before this one, which is not exact. Every answer is held
    against the exact SQL's.
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
