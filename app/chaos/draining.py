"""The end of a run: settling on chain what the engine has ended, and waiting until nothing is left to be done."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from app.chaos.history import History
from app.chaos.recovery import connected
from app.chaos.world import World

_STILL_OPEN = """SELECT
    (SELECT count(*) FROM jobs WHERE state NOT IN ('completed', 'failed', 'cancelled', 'expired')) AS jobs,
    (SELECT count(*) FROM signals) AS signals,
    (SELECT count(*) FROM plans WHERE finished_at IS NULL) AS plans,
    (SELECT count(*) FROM plan_signals) AS "plans' signals",
    (SELECT count(*) FROM events) - (SELECT count(*) FROM feed) AS unread,
    (SELECT coalesce(max(position), 0) FROM feed)
        - coalesce((SELECT position FROM consumers WHERE name = 'webhooks'), 0) AS untold,
    (SELECT count(*) FROM deliveries WHERE state = 'pending' AND (tries = 0 OR due_at < now() + interval '60 s'))
        AS deliveries"""
_LAST_SEEN = "SELECT coalesce(max(position), 0) FROM feed WHERE $1::text IS NULL OR account = $1"
_FINAL_EVENTS = "SELECT count(*) FROM chain_events WHERE commitment = 'finalized'"
_LOOK_S = 0.25
_SETTLE_S = 1.0


async def settle(world: World) -> None:
    """End and pay on chain what the engine has ended, for ever."""
    while True:
        sql = await connected(world.servers.database_url)
        try:
            while True:
                await world.onchain.settle(sql)
                await asyncio.sleep(_SETTLE_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            await asyncio.sleep(_LOOK_S)
        finally:
            sql.terminate()


async def _behind(world: World, sql: asyncpg.Connection[Any]) -> int:
    """Readers of the feed that have not read the last event that they may see by now; it is noted for the checks."""
    behind = 0
    for reader in world.readers:
        last = await sql.fetchval(_LAST_SEEN, reader.account)
        world.history.read_to[reader.name] = last
        behind += reader.after < last
    return behind


async def until_over(world: World, patience_s: float) -> dict[str, int]:
    """Wait until every job is over, everybody was told, and the chain is final and read; what is left after that long.

    Deliveries that were refused twice and wait for their next try, minutes away, are not waited for; those that a
    worker had claimed when it was killed are, for they are sent again when its claim ends.
    """
    sql = await connected(world.servers.database_url)
    give_up = History.now() + patience_s
    try:
        while True:
            # In this order: the chain leads to signals, those to events, and they to readers.
            status = await world.onchain.chain.status()
            left = {"open on chain": world.onchain.open, "not final": int(not status.settled)}
            left["unread on chain"] = status.events - await sql.fetchval(_FINAL_EVENTS)
            left |= dict(await sql.fetchrow(_STILL_OPEN))
            left["readers"] = await _behind(world, sql)
            left = {name: count for name, count in left.items() if count}
            if not left or History.now() > give_up:
                return left
            await asyncio.sleep(_LOOK_S)
    finally:
        await sql.close()
