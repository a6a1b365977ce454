"""What the fixtures promise to every other test."""

from __future__ import annotations

import asyncpg
import pytest
import redis

from app.store import revision
from tests.support.databases import Databases


async def test_a_database_is_a_migrated_clone_that_nobody_else_sees(database_url: str, databases: Databases) -> None:
    assert (await revision.status_async(database_url)).up_to_date
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE only_here (id int)")
    names = await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'hae_test_%'")
    await connection.close()
    assert database_url.split("/")[3].split("?")[0] in {row["datname"] for row in names}


async def test_the_next_database_has_nothing_of_the_last(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT to_regclass('only_here')") is None
    assert await connection.fetchval("SHOW fsync") == "on"
    await connection.close()


async def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close()


def test_dropping_a_database_ends_the_connections_left_open(databases: Databases) -> None:
    url = databases.create()
    left_open = Databases(url)
    databases.drop(url)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        left_open.create()
    left_open.close()


def test_redis_is_empty_the_first_time(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_redis_is_empty_again(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
