"""Fixtures for every test that needs real servers; nothing is started before the first test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.databases import Databases
from tests.support.servers import Servers, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and Valkey, started once a run. Tests want `database_url` and `redis_url` instead."""
    with running() as started:
        yield started


@pytest.fixture(scope="session")
def databases(servers: Servers) -> Iterator[Databases]:
    """Creates and drops databases."""
    created = Databases(servers.database_url)
    yield created
    created.close()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A fresh, migrated, empty database, dropped after the test."""
    from app.store import migrate

    url = databases.clone(migrate.upgrade)
    yield url
    databases.drop(url)


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    """A fresh database that no migration has run on, dropped after the test."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """An empty Valkey database."""
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushdb()
    return servers.redis_url
