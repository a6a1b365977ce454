"""`hae bench agents`: what agents get from one API process."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from app.bench import agents as bench
from app.bench.agents import Calls, Load, Mcp, Streams
from app.bench.databases import prepared
from app.cli.bench_servers import measured, tell
from app.embedded import EmbeddedServers


def agents(
    calls: Annotated[int, typer.Option(min=100, help="Tool calls of many clients in each run")] = 10_000,
    clients: Annotated[int, typer.Option(min=1, help="Agents that call tools, or submit over MCP, at a time")] = 32,
    streams: Annotated[int, typer.Option(min=1, max=4_000, help="Streams that follow all events")] = 500,
    events_per_s: Annotated[float, typer.Option(min=1, help="Events a second, each for every stream")] = 200.0,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of MCP in each revision, and of events")] = 10.0,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each; the median counts")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """What agents get from one `hae serve` process: how long an event takes to hundreds of streams, and the memory that
    takes; tool calls a second, and what one adds to its plain query; and jobs a second over MCP.

    Every stream gets every event. `hae worker` and the clients are processes of their own on the same machine.
    """
    loads = (
        Streams(clients=streams, per_s=events_per_s, seconds=seconds),
        Calls(calls=calls, clients=clients),
        Mcp(seconds=seconds, clients=clients),
    )
    found = measured(lambda servers, _: _measure(servers, runs, loads))
    if as_json:
        print(json.dumps(found))
        return
    print(f"{found['tool_calls_per_s']:,.0f} tool calls/s; one adds {found['overhead_ms_p50']:g} ms to its plain query")
    print(f"{found['mcp_submit_per_s']:,.0f} jobs/s over MCP, in its slower revision")
    print(
        f"{found['sse_clients']} streams with {events_per_s:g} events/s each: p50 {found['sse_p50_ms']:g} ms, "
        f"p99 {found['sse_p99_ms']:g} ms; {found['sse_rss_mb']:g} MB at most, {found['rss_mb']:g} with MCP loaded"
    )


async def _measure(servers: EmbeddedServers, runs: int, loads: Sequence[Load]) -> dict[str, Any]:
    by_load: list[list[dict[str, Any]]] = [[] for _ in loads]
    for number in range(runs):
        async with prepared(servers.database_url, 0) as database:
            for told, found in zip(by_load, await bench.measure(database, servers.redis_url, loads), strict=True):
                told.append(found)
                tell(f"run {number + 1} of {runs}: {found}")
    streams, calls, mcp = by_load
    revisions = {name: _median([run["revisions"][name] for run in mcp], "per_s") for name in mcp[0]["revisions"]}
    return {
        "tool_calls_per_s": _median(calls, "calls_per_s"),
        "overhead_ms_p50": _median(calls, "overhead_ms_p50"),
        "call_ms_p50": _median(calls, "call_ms_p50"),
        "mcp_submit_per_s": min(revisions.values()),
        "mcp_revisions": revisions,
        "sse_clients": streams[0]["clients"],
        "sse_p99_ms": _median(streams, "p99_ms"),
        "sse_p50_ms": _median(streams, "p50_ms"),
        "sse_events_per_s": _median(streams, "events_per_s"),
        "sse_rss_mb": max(run["rss_mb"] for run in streams),
        "rss_mb": max(run["rss_mb"] for run in mcp),
        "runs": runs,
    }


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return float(statistics.median(run[name] for run in runs))
