"""Where a database's migrations stand, without loading Alembic: every process asks this when it starts.

Migrations are files ``NNNN_title.py`` in a straight line, each named for its revision; a test holds this against
Alembic's own view.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

from app.core.errors import Unavailable
from app.core.retry import backoff_s
from app.settings import SettingsError

log = logging.getLogger(__name__)

CONNECT_S = 3.0
"""A server that takes longer to let somebody in does not answer."""


class WrongMigrations(Exception):
    """The database is older or newer than this code, which must leave it alone: no process runs on it."""


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

    def check(self) -> None:
        """Raises WrongMigrations, saying what to do, unless the database is exactly at this code's migrations."""
        if not self.known:
            raise WrongMigrations(
                f"the database is at migration {self.current}, this version knows {self.head} at most: "
                "it is newer than the code; upgrade hae"
            )
        if not self.up_to_date:
            raise WrongMigrations(
                f"the database is at migration {self.current or 'none'}, this version needs {self.head}: "
                "run hae migrate up"
            )


def revisions() -> list[str]:
    """The revisions this code knows, oldest first."""
    names = (entry.name for entry in files("migrations.versions").iterdir())
    return sorted(name.split("_")[0] for name in names if name.endswith(".py") and name[:4].isdigit())


def status(database_url: str) -> Status:
    """As status_async, for callers without a loop."""
    return asyncio.run(status_async(database_url))


async def status_async(database_url: str) -> Status:
    """Where the database at ``database_url`` stands.

    Raises Unavailable when it cannot be reached or is lost on the way, SettingsError when the URL is none.
    """
    try:
        connection = await asyncpg.connect(database_url, timeout=CONNECT_S, statement_cache_size=0)
        try:
            there = await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL", timeout=CONNECT_S)
            query = "SELECT version_num FROM alembic_version"
            current = await connection.fetchval(query, timeout=CONNECT_S) if there else None
        finally:
            await connection.close(timeout=CONNECT_S)
    except ValueError as error:
        raise SettingsError(f"database.url (DATABASE_URL): {error}") from error
    except _AWAY as error:
        reason = str(error) or type(error).__name__
        raise Unavailable(f"PostgreSQL cannot be reached: {reason}", next_action="Check DATABASE_URL.") from error
    known = revisions()
    return Status(current, known[-1], current is None or current in known)


async def until_checked(database_url: str, stop: asyncio.Event) -> bool:
    """Wait for the database to answer, and check its migrations; False when ``stop`` came first.

    A server that comes back is noticed within 1.2 s, one that hung within CONNECT_S more. Raises WrongMigrations.
    """
    tries = 0
    while not stop.is_set():
        try:
            (await status_async(database_url)).check()
        except Unavailable as error:
            tries += 1
            if tries in (1, 10) or tries % 100 == 0:
                log.warning("waiting for the database: %s", error.detail)
        else:
            if tries:
                log.info("the database is there")
            return True
        try:
            await asyncio.wait_for(stop.wait(), backoff_s(tries, base_s=0.1, cap_s=1.0))
        except TimeoutError:
            continue
    return False


_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
