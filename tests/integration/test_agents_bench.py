"""The benchmark of agents, small: that it measures what it says, not how fast it is."""

from __future__ import annotations

from app.bench import agents
from app.bench.agents import Calls, Mcp, Streams
from app.store.db import Database


async def test_one_api_process_serves_streams_calls_and_mcp(database_url: str, redis_url: str) -> None:
    loads = (
        Streams(clients=6, per_s=40, seconds=0.5, warm_up_s=0.1),
        Calls(jobs=10, turns=10, calls=40, clients=4, warm_up=4),
        Mcp(seconds=0.3, clients=2, warm_up_s=0.1),
    )
    streams, calls, mcp = await agents.measure(database_url, redis_url, loads)
    # Every stream gets every event.
    assert streams["deliveries"] == 6 * 20
    assert 0 < streams["p50_ms"] <= streams["p99_ms"]
    assert streams["rss_mb"] > 50
    assert set(streams["cores"]) == {"api", "worker", "clients", "postgres"}
    assert calls["calls_per_s"] > 0 and calls["call_ms_p50"] > calls["query_ms_p50"] > 0
    assert set(mcp["revisions"]) == {"2025-11-25", "2026-07-28"}
    assert all(found["per_s"] > 0 for found in mcp["revisions"].values())
    db = Database(database_url, pool_size=1)
    async with db.unit() as uow:
        submitted = await uow.sql.fetchval("SELECT count(*) FROM jobs")
    await db.close()
    # Those of the events, with the warm-up's, those to read, and the counted ones over MCP at the least.
    assert submitted >= 24 + 10 + sum(round(found["per_s"] * 0.3) for found in mcp["revisions"].values())
