"""Engines with keys of several accounts. Modules share one engine where their tests do not disturb each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from app.core.access import Scope
from app.services import keys
from app.store import migrate
from tests.support.databases import Databases
from tests.support.live_engine import Hae, running_engine, settings_for
from tests.support.servers import Servers


@pytest.fixture(scope="module")
def module_database_url(databases: Databases) -> Iterator[str]:
    """A fresh, migrated database for all tests of a module."""
    url = databases.clone(migrate.upgrade)
    yield url
    databases.drop(url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hae(module_database_url: str, servers: Servers) -> AsyncIterator[Hae]:
    """An engine with a worker; tests keep apart by accounts and GPU models of their own."""
    async with running_engine(settings_for(module_database_url, servers.redis_url)) as running:
        await make_keys(running)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def still(module_database_url: str, servers: Servers) -> AsyncIterator[Hae]:
    """An engine without a worker: nothing changes but by requests and ``settle``."""
    async with running_engine(settings_for(module_database_url, servers.redis_url), worker=False) as running:
        await make_keys(running)
        yield running


async def make_keys(running: Hae) -> None:
    """Keys: alice and bob (agents), miner and digger (nodes), ops (operator), gone (revoked)."""
    for name, scope in {
        "alice": Scope.AGENT,
        "bob": Scope.AGENT,
        "miner": Scope.NODE,
        "digger": Scope.NODE,
        "ops": Scope.OPERATOR,
    }.items():
        running.secrets[name] = await running.key(name, scope)
    key_id, running.secrets["gone"] = await keys.create(running.engine.db, "gone", ["agent", "node", "operator"])
    await keys.revoke(running.engine.db, key_id)


def as_(running: Hae, name: str) -> httpx.AsyncClient:
    """The client of a key made by make_keys."""
    return running.client(running.secrets[name])
