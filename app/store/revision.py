"""Where a database's migrations stand, without loading Alembic: every process asks this when it starts.

Migrations are files ``NNNN_title.py`` in a straight line, each named for its revision; a test holds this against
Alembic's own view.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

from app.core.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Status:
    """``current``: the revision the database is at, None before the first. ``head``: the newest this code knows.

    ``known``: whether this code knows ``current``; if not, the database is newer.
    """

    current: str | None
    head: str
    known: bool

    @property
    def up_to_date(self) -> bool:
        return self.current == self.head


def revisions() -> list[str]:
    """The revisions this code knows, oldest first."""
    names = (entry.name for entry in files("migrations.versions").iterdir())
    return sorted(name.split("_")[0] for name in names if name.endswith(".py") and name[:4].isdigit())


def status(database_url: str) -> Status:
    """Raises Unavailable when the database cannot be reached."""
    return asyncio.run(status_async(database_url))


async def status_async(database_url: str) -> Status:
    try:
        connection = await asyncpg.connect(database_url, timeout=10.0)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or type(error).__name__
        raise Unavailable(f"PostgreSQL cannot be reached: {reason}", next_action="Check DATABASE_URL.") from error
    try:
        there = await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL")
        current = await connection.fetchval("SELECT version_num FROM alembic_version") if there else None
    finally:
        await connection.close()
    known = revisions()
    return Status(current, known[-1], current is None or current in known)
