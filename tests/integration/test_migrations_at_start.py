"""Every kind of process waits for a database that is away, and refuses one that is older or newer than the code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from app.http.server import run_server
from app.settings import Settings
from app.store.revision import WrongMigrations
from app.workers.listener import run_listener
from app.workers.supervisor import run_worker
from tests.support.databases import with_database
from tests.support.live_engine import settings_for
from tests.support.processes import NO_CHAIN

Run = Callable[[Settings, asyncio.Event], Awaitable[None]]
EVERY_KIND = pytest.mark.parametrize("run", [run_server, run_worker, run_listener])


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection from which to change whether the test's database lets anybody in."""
    connection = await asyncpg.connect(with_database(database_url, "postgres"))
    yield connection
    await connection.close()


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    chain = {name.removeprefix("SOLANA_").lower(): value for name, value in NO_CHAIN.items()}
    return settings_for(database_url, redis_url, server={"port": 0}, solana=chain)


@EVERY_KIND
async def test_wrong_migrations_are_refused_at_once(run: Run, settings: Settings, database_url: str) -> None:
    await at_migration(database_url, "9999")
    async with asyncio.timeout(30):
        with pytest.raises(WrongMigrations, match="newer than the code; upgrade hae"):
            await run(settings, asyncio.Event())


@EVERY_KIND
async def test_wrong_migrations_are_refused_when_the_database_comes_late(
    run: Run,
    settings: Settings,
    database_url: str,
    admin: asyncpg.Connection[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    await at_migration(database_url, "0001")
    await admit(admin, database_url, False)
    running = asyncio.ensure_future(run(settings, asyncio.Event()))
    async with asyncio.timeout(30):
        await until_waiting(running, caplog)
        await admit(admin, database_url, True)
        with pytest.raises(WrongMigrations, match="run hae migrate up"):
            await running


@EVERY_KIND
async def test_who_waits_for_the_database_can_be_stopped(
    run: Run, settings: Settings, database_url: str, admin: asyncpg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    await admit(admin, database_url, False)
    stop = asyncio.Event()
    running = asyncio.ensure_future(run(settings, stop))
    async with asyncio.timeout(30):
        await until_waiting(running, caplog)
        stop.set()
        await running


async def at_migration(database_url: str, revision: str) -> None:
    sql = await asyncpg.connect(database_url)
    await sql.execute("UPDATE alembic_version SET version_num = $1", revision)
    await sql.close()


async def admit(admin: asyncpg.Connection[Any], database_url: str, anybody: bool) -> None:
    name = database_url.split("?")[0].rsplit("/", 1)[1]
    await admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS {anybody}')


async def until_waiting(running: asyncio.Future[None], caplog: pytest.LogCaptureFixture) -> None:
    while "waiting for the database" not in caplog.text:
        assert not running.done()
        await asyncio.sleep(0.01)
