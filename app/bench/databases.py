"""Databases that benchmarks run on: of their own, migrated, with nodes in them, on a server that waits for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.bench import workload
from app.store import migrate
from app.store.db import Database
from app.store.scratch import scratch_database, server_setting, settle


async def check_durable(url: str) -> None:
    """Raises RuntimeError unless this server's commits wait for the disk."""
    for name in ("fsync", "synchronous_commit"):
        if await server_setting(url, name) != "on":
            raise RuntimeError(f"{name} is off on this server: the figures would mean nothing")


@asynccontextmanager
async def prepared(url: str, nodes: int) -> AsyncIterator[str]:
    """A migrated database on the server of ``url`` with so many nodes online; dropped at the end."""
    async with scratch_database(url) as database:
        await asyncio.to_thread(migrate.upgrade, database)
        await bring_online(database, nodes)
        yield database


async def bring_online(database: str, nodes: int) -> None:
    """Register the workload's nodes in the database, and let it come to rest."""
    db = Database(database, pool_size=1, application="hae bench")
    try:
        await workload.register(db, nodes)
    finally:
        await db.close()
    await settle(database)
