"""For commands that ask the database, or change something in it, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from app.cli.environment import environment
from app.store.db import Database

Answer = TypeVar("Answer")


def with_database(config: Path | None, command: str, work: Callable[[Database], Awaitable[Answer]]) -> Answer:
    """What ``work`` makes of the database that the settings name. ``command``: the one that asks, for the server."""
    with environment(config, command, quiet=True) as settings:
        database = settings.database

        async def once() -> Answer:
            db = Database(database.url, pool_size=1, pgbouncer=database.pgbouncer, application=f"hae {command}")
            try:
                return await work(db)
            finally:
                await db.close()

        return asyncio.run(once())
