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
from app.bench import decode as decode_bench
from app.bench import replay as replay_bench
from app.cli.bench_agents import agents
from app.cli.bench_api import api
from app.cli.bench_claims import claims, heartbeats, place
from app.cli.bench_lifecycle import lifecycle
from app.cli.bench_match import match, view
from app.settings import LogSettings
from app.store import migrate
from app.store.scratch import scratch_database, settle
from app.telemetry import disable_tracing, setup_logging

commands = typer.Typer(no_args_is_help=True, help="Benchmarks; each prints one JSON object with --json.")


def add_to(cli: typer.Typer) -> None:
    cli.add_typer(commands, name="bench")


for command in (match, view, claims, place, heartbeats, lifecycle, api, agents):
    commands.command()(command)


@commands.callback()
def every() -> None:
    """Benchmarks run on what they start themselves, in a temporary directory, and leave nothing behind."""


@commands.command()
def decode(
    transactions: Annotated[int, typer.Option(min=100, help="Transactions in each run, one event each")] = 20_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each, in turns; the median counts")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """On-chain events a second, from a transaction's logs to the decoded event, in one process.

    The peer is npm's @coral-xyz/anchor on the same logs, installed for the occasion; no ratio where node is absent.
    """
    setup_logging(LogSettings(level="warning"), "bench")
    found = decode_bench.run(transactions=transactions, runs=runs)
    if as_json:
        print(json.dumps(found))
        return
    print(f"{found['events_per_s']:,.0f} events/s")
    if found["ratio"] is None:
        print("no peer: node or npm is absent, or npm could not install it")
    else:
        print(f"{found['anchor_js_events_per_s']:,.0f} events/s by {decode_bench.PEER}; ratio {found['ratio']}")


@commands.command()
def replay(
    events: Annotated[int, typer.Option(min=1000, help="Events on the chain before the listener starts")] = 100_000,
    live: Annotated[int, typer.Option(min=0, help="Events that follow, to time one by one; 0 = none")] = 1_000,
    live_per_s: Annotated[float, typer.Option(min=1, help="How many of those a second")] = 50.0,
    runs: Annotated[int, typer.Option(min=1, help="Runs; the median of each figure counts")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Events indexed a second from a backlog on a local chain into PostgreSQL, by `hae listener`, fsync on.

    Also its memory at its most, and the time from a live event's confirmation until its row can be read.
    """
    setup_logging(LogSettings(level="warning"), "bench")
    disable_tracing()
    with tempfile.TemporaryDirectory(prefix="hae-bench-") as scratch:
        Path(scratch).chmod(0o755)
        with embedded.start(Path(scratch) / "data") as servers:
            runs_found = uvloop.run(_replay(servers.database_url, servers.redis_url, events, live, live_per_s, runs))
    found = {name: statistics.median(each[name] for each in runs_found) for name in runs_found[0]}
    if as_json:
        print(json.dumps(found))
        return
    print(f"{found['events_per_s']:,.0f} events/s from a backlog of {events:,}, {found['rss_mb']:g} MB at most")
    if live:
        print(f"a live event is in after {found['live_ms_p50']:g} ms (p50), {found['live_ms_p99']:g} ms (p99)")


async def _replay(
    url: str, redis_url: str, events: int, live: int, live_per_s: float, runs: int
) -> list[dict[str, float]]:
    found = []
    for number in range(runs):
        async with scratch_database(url) as database:
            await asyncio.to_thread(migrate.upgrade, database)
            await settle(database)
            found.append(
                await replay_bench.measure(database, redis_url, events=events, live=live, live_per_s=live_per_s)
            )
        print(f"run {number + 1} of {runs}: {found[-1]}", file=sys.stderr)
    return found
