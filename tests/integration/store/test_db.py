"""The unit of work: all or nothing, one clock, and what counts as an absent database."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from app.core.errors import Unavailable
from app.core.events import EventKind
from app.store import events
from app.store.db import Database, Hints
from tests.factories import sql

TABLE = "CREATE TABLE notes (id int PRIMARY KEY, what text)"


async def test_a_unit_that_raises_leaves_nothing(db: Database) -> None:
    await sql(db, TABLE)

    async def fail() -> None:
        async with db.unit() as uow:
            await uow.sql.execute("INSERT INTO notes VALUES (1, 'gone')")
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await sql(db, "SELECT * FROM notes") == []


async def test_hints_are_told_after_the_commit_only(db: Database) -> None:
    told: list[tuple[Hints, int]] = []

    async def listen(hints: Hints) -> None:
        told.append((hints, (await sql(db, "SELECT count(*) FROM events"))[0][0]))

    db.on_commit = listen
    event = events.NewEvent(EventKind.JOB_COMPLETED, {}, job_id="job_1")

    async def fail() -> None:
        async with db.unit() as uow:
            await events.add(uow, [event])
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert told == []
    async with db.unit() as uow:
        await events.add(uow, [event])
    assert [(hints.events, hints.jobs, seen) for hints, seen in told] == [(True, {"job_1"}, 1)]


async def test_a_transaction_that_stands_still_is_ended_and_holds_nothing(db: Database) -> None:
    await sql(db, TABLE)
    await sql(db, "INSERT INTO notes VALUES (1, 'free')")
    assert await sql(db, "SHOW idle_in_transaction_session_timeout") == [("30s",)]

    async def stand_still() -> None:
        async with db.unit() as uow:
            await uow.sql.execute("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
            await uow.sql.execute("UPDATE notes SET what = 'held'")
            # The server ends the session; nothing here tells of it before the next statement.
            async with asyncio.timeout(20):
                while await sql(db, "SELECT 1 FROM notes FOR UPDATE SKIP LOCKED") == []:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await uow.sql.execute("SELECT 1")

    with pytest.raises(Unavailable):
        await stand_still()
    assert await sql(db, "SELECT what FROM notes") == [("free",)]


async def test_now_is_the_transactions_start_by_the_databases_clock(db: Database) -> None:
    async with db.unit() as uow:
        assert uow.now == await uow.sql.fetchval("SELECT now()")
        assert uow.now < await uow.sql.fetchval("SELECT clock_timestamp()")


@pytest.mark.parametrize(
    ("statement", "values", "expected"),
    [
        ("INSERT INTO notes VALUES (1, 'twice')", (), asyncpg.UniqueViolationError),
        ("INSERT INTO notes VALUES (2, $1)", ("nul \0",), asyncpg.CharacterNotInRepertoireError),
        ("INSERT INTO notes VALUES ($1, '')", (2**40,), asyncpg.DataError),
        ("SELECT * FROM nowhere", (), asyncpg.UndefinedTableError),
    ],
)
async def test_a_wrong_statement_is_no_outage(
    db: Database, statement: str, values: tuple[Any, ...], expected: type[Exception]
) -> None:
    await sql(db, TABLE)
    await sql(db, "INSERT INTO notes VALUES (1, 'here')")
    with pytest.raises(expected):
        await sql(db, statement, *values)
    assert await sql(db, "SELECT id FROM notes") == [(1,)]


async def test_a_cut_connection_and_an_exhausted_pool_are_outages_that_pass(database_url: str) -> None:
    db = Database(database_url, pool_size=1, pool_timeout_s=0.2)

    async def cut() -> None:
        other = await asyncpg.connect(database_url)
        try:
            async with db.unit() as uow:
                me = await uow.sql.fetchval("SELECT pg_backend_pid()")
                await other.execute("SELECT pg_terminate_backend($1)", me)
                await uow.sql.execute("SELECT 1")
        finally:
            await other.close()

    try:
        with pytest.raises(Unavailable):
            await cut()
        async with db.unit():
            with pytest.raises(Unavailable):
                await sql(db, "SELECT 1")
        assert await sql(db, "SELECT 1") == [(1,)]
    finally:
        await db.close()


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("PERFORM pg_terminate_backend(pg_backend_pid())", "may have been carried out"),
        ("RAISE 'full' USING ERRCODE = 'disk_full'", "cannot take this request right now"),
    ],
)
async def test_a_commit_without_an_answer_is_told_from_one_that_was_refused(db: Database, what: str, told: str) -> None:
    await sql(db, TABLE)
    await sql(db, f"CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN NULL; END $$")
    await sql(
        db,
        """CREATE CONSTRAINT TRIGGER trouble AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION trouble()""",
    )
    with pytest.raises(Unavailable, match=told):
        await sql(db, "INSERT INTO notes VALUES (1, '')")
    assert await sql(db, "SELECT 1 FROM notes") == []


async def test_of_two_that_deadlock_one_is_told_to_try_again(db: Database) -> None:
    await sql(db, TABLE)
    await sql(db, "INSERT INTO notes VALUES (1, 'a'), (2, 'b')")
    meet = asyncio.Barrier(2)

    async def write(first: int, second: int) -> None:
        async with db.unit() as uow:
            await uow.sql.execute("UPDATE notes SET what = 'mine' WHERE id = $1", first)
            await meet.wait()
            await uow.sql.execute("UPDATE notes SET what = 'mine' WHERE id = $1", second)

    results = await asyncio.gather(write(1, 2), write(2, 1), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "Unavailable"]
