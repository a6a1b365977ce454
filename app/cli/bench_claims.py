"""`hae bench claims`, `hae bench place` and `hae bench heartbeats`: what PostgreSQL takes, durably."""

from __future__ import annotations

import asyncio
import json
import statistics
from typing import Annotated

import typer

from app.bench import claims as claims_bench
from app.bench import heartbeats as heartbeats_bench
from app.bench import place as place_bench
from app.bench.pgbench import simple_update_tps
from app.cli.bench_servers import measured, tell
from app.store import migrate
from app.store.scratch import scratch_database

Seconds = Annotated[int, typer.Option(min=1, help="Seconds of each run, the peer's too")]
Runs = Annotated[int, typer.Option(min=1, help="Runs, in turns with the peer; the median counts")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object")]


def claims(
    nodes: Annotated[int, typer.Option(min=100, help="Nodes in the network, of 1 to 8 slots")] = 100_000,
    batch: Annotated[int, typer.Option(min=1, max=256, help="Claims in one statement")] = 256,
    runs: Runs = 3,
    seconds: Seconds = 5,
    as_json: AsJson = False,
) -> None:
    """Claims granted a second: slots of nodes taken in batches, on four connections, every commit durable.

    Each claim is held against the node's true row: state, model, memory, capabilities, region, reputation, price and
    free slots. After every round each node's slots are counted: oversubscribed are those that do not add up. The peer
    is pgbench's simple-update with 8 clients on the same server; what is released between rounds is off the clock.
    """
    mine, theirs = measured(lambda servers, _: _claims(servers.database_url, nodes, batch, runs, seconds))
    rate, peer = statistics.median(one.per_s for one in mine), statistics.median(theirs)
    found = {
        "claims_per_s": round(rate, 1),
        "pgbench_simple_update_tps": round(peer, 1),
        "ratio": round(rate / peer, 2),
        "oversubscribed": sum(one.oversubscribed for one in mine),
    }
    if as_json:
        print(json.dumps(found))
        return
    print(f"{rate:,.0f} claims/s granted in batches of {batch}; {found['oversubscribed']} nodes oversubscribed")
    print(f"{peer:,.0f} pgbench simple-update transactions/s; ratio {found['ratio']}")


def place(
    nodes: Annotated[int, typer.Option(min=100, help="Nodes in the network, of 1 to 8 slots")] = 10_000,
    runs: Runs = 3,
    seconds: Seconds = 5,
    as_json: AsJson = False,
) -> None:
    """Jobs placed a second, end to end: matched in memory, slots claimed and offers written in one durable commit.

    One process, two batches under way. The peer is the query of the engine before this one on the same nodes: the 50
    best-reputed, scored; it heeds few requirements and claims nothing. It runs on one connection, one match after the
    other, as that engine did; what it reaches on up to 8 connections is told as well.
    """
    mine, theirs = measured(lambda servers, _: _place(servers.database_url, nodes, runs, seconds))
    if wrong := sum(one.oversubscribed for one in mine):
        raise RuntimeError(f"{wrong} nodes were oversubscribed")
    rate = statistics.median(one.per_s for one in mine)
    peer, most = statistics.median(run[0] for run in theirs), statistics.median(max(run) for run in theirs)
    found = {
        "placements_per_s": round(rate, 1),
        "legacy_sql_per_s": round(peer, 1),
        "ratio": round(rate / peer, 2),
        "legacy_sql_per_s_8_connections": round(most, 1),
    }
    if as_json:
        print(json.dumps(found))
        return
    print(f"{rate:,.0f} jobs/s matched and claimed among {nodes:,} nodes")
    print(f"{peer:,.0f} matches/s by the former engine's query, nothing claimed; ratio {found['ratio']}")
    print(f"{most:,.0f} of them on as many connections as help, up to 8")


def heartbeats(
    nodes: Annotated[int, typer.Option(min=100, help="Nodes that are heard")] = 100_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs; the median counts")] = 3,
    seconds: Annotated[int, typer.Option(min=1, help="Seconds of each run")] = 5,
    as_json: AsJson = False,
) -> None:
    """Heartbeats written a second by the real flush: one in ten nodes is heard twice, each is written once."""
    rates = measured(lambda servers, _: _heartbeats(servers.database_url, nodes, runs, seconds))
    found = {"rows_per_s": round(statistics.median(rates), 1), "nodes": nodes}
    if as_json:
        print(json.dumps(found))
        return
    print(f"{found['rows_per_s']:,.0f} heartbeats/s of {nodes:,} nodes")


async def _claims(
    url: str, nodes: int, batch: int, runs: int, seconds: int
) -> tuple[list[claims_bench.Claims], list[float]]:
    mine, theirs = [], []
    for number in range(runs):
        async with scratch_database(url) as database:
            await asyncio.to_thread(migrate.upgrade, database)
            mine.append(await claims_bench.measure(database, nodes=nodes, seconds=seconds, batch=batch))
        async with scratch_database(url) as database:
            theirs.append(await simple_update_tps(database, seconds=seconds))
        tell(f"run {number + 1} of {runs}: {mine[-1].per_s:,.0f} claims/s, pgbench {theirs[-1]:,.0f}/s")
    return mine, theirs


async def _place(
    url: str, nodes: int, runs: int, seconds: int
) -> tuple[list[place_bench.Placements], list[list[float]]]:
    mine, theirs = [], []
    for number in range(runs):
        async with scratch_database(url) as database:
            await asyncio.to_thread(migrate.upgrade, database)
            mine.append(await place_bench.measure(database, nodes=nodes, seconds=seconds))
        async with scratch_database(url) as database:
            theirs.append(await place_bench.measure_legacy(database, nodes=nodes, seconds=seconds))
        tell(f"run {number + 1} of {runs}: {mine[-1].per_s:,.0f} placements/s, the former query {theirs[-1][0]:,.0f}/s")
    return mine, theirs


async def _heartbeats(url: str, nodes: int, runs: int, seconds: int) -> list[float]:
    rates = []
    for number in range(runs):
        async with scratch_database(url) as database:
            await asyncio.to_thread(migrate.upgrade, database)
            rates.append(await heartbeats_bench.measure(database, nodes=nodes, seconds=seconds))
        tell(f"run {number + 1} of {runs}: {rates[-1]:,.0f} heartbeats/s")
    return rates
