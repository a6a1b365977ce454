"""The feed under writers that commit out of order: nothing missed, no gap, each job's events in their order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from app.core.errors import Gone, InvalidInput
from app.core.events import EventKind
from app.services import feed as following
from app.store import events, feed
from app.store.db import Database, UnitOfWork
from app.workers.sequencer import Sequencer
from tests import factories
from tests.factories import OWNER, STRANGER, sequence, sql

KIND = EventKind.JOB_PROGRESS


async def write(uow: UnitOfWork, *marks: Any, job_id: str | None = None, account: str = "acme") -> None:
    await events.add(uow, [events.NewEvent(KIND, {"mark": mark}, account, job_id) for mark in marks])


async def marks(db: Database) -> list[Any]:
    """What the feed's events say, in order, after a look at whether its positions have gaps."""
    async with db.unit() as uow:
        page = await feed.read(uow, 0, 1_000_000)
    assert [event.position for event in page.events] == list(range(1, page.latest + 1))
    return [event.data["mark"] for event in page.events if "mark" in event.data]


async def naive(db: Database, after: int) -> list[tuple[int, Any]]:
    """A reader that takes the serial number for a cursor."""
    rows = await sql(db, "SELECT seq, data FROM events WHERE seq > $1 ORDER BY seq", after)
    return [(row[0], row[1]["mark"]) for row in rows]


@pytest.mark.parametrize("older", [False, True], ids=["of the later id", "of the earlier id"])
async def test_what_commits_late_is_missed_by_its_number_and_not_in_the_feed(db: Database, older: bool) -> None:
    async with db.unit() as late:
        async with db.unit() as early:
            if older:
                # No transaction that is over, or known to be under way, has an id as high as the late one's then.
                await early.sql.execute("SELECT pg_current_xact_id()")
            await write(late, "late")
            await write(early, "early")
        seen = await naive(db, 0)
        assert [mark for _, mark in seen] == ["early"]
        for _ in range(3):
            assert await following.sequence(db) == feed.Sequenced(0, False, True)
    assert await naive(db, seen[-1][0]) == [], "the number told of it after all"
    assert await sequence(db) == 2
    assert await marks(db) == ["late", "early"]


async def test_a_jobs_events_keep_their_order_though_its_transactions_have_their_ids_in_another(db: Database) -> None:
    (job_id,) = await factories.submit(db)
    await sequence(db)
    lock = "SELECT FROM jobs WHERE id = $1 FOR UPDATE"
    async with db.unit() as between:
        async with db.unit() as second:
            # Its id comes first: it has written something, and waits for the job.
            await second.sql.execute("SELECT pg_current_xact_id()")
            await between.sql.execute("SELECT pg_current_xact_id()")
            async with db.unit() as first:
                await first.sql.execute(lock, job_id)
                await write(first, "first", job_id=job_id)
            await second.sql.execute(lock, job_id)
            await write(second, "second", job_id=job_id)
        over = await sql(
            db, "SELECT data FROM events WHERE written_in < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
        )
        assert [row[0]["mark"] for row in over if "mark" in row[0]] == ["second"], "by the ids of the transactions"
        assert await following.sequence(db) == feed.Sequenced(0, False, True)
    assert await sequence(db) == 2
    assert await marks(db) == ["first", "second"]


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_writers_do_readers_get_all_of_it_in_order(db: Database, seed: int) -> None:
    jobs = await factories.submit(db, 4)
    written: dict[str, int] = dict.fromkeys(jobs, 0)
    committed: set[tuple[str, int]] = set()

    async def writer(number: int) -> None:
        random = Random(seed * 100 + number)
        for _ in range(12):
            mine = sorted(random.sample(jobs, random.randint(1, 2)))
            told: list[tuple[str, int]] = []
            try:
                async with db.unit() as uow:
                    if random.random() < 0.5:
                        await uow.sql.execute("SELECT pg_current_xact_id()")
                    for _ in range(random.randint(0, 4)):
                        await uow.sql.execute("SELECT 1")
                    for job_id in mine:
                        await uow.sql.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", job_id)
                        for _ in range(random.randint(1, 3)):
                            written[job_id] += 1
                            told.append((job_id, written[job_id]))
                            await write(uow, list(told[-1]), job_id=job_id)
                    for _ in range(random.randint(0, 6)):
                        await uow.sql.execute("SELECT 1")
                    if random.random() < 0.2:
                        raise RuntimeError("rolled back")
            except RuntimeError:
                continue
            committed.update(told)

    stop = asyncio.Event()
    looks = [asyncio.create_task(Sequencer(db, poll_s=0.001, moved=lambda: None).run(stop)) for _ in range(2)]
    read: list[feed.FeedEvent] = []

    async def reader() -> None:
        while not (writing.done() and len(read) >= len(committed) + len(jobs)):
            async with db.unit() as uow:
                read.extend((await feed.read(uow, len(read), 7)).events)

    writing = asyncio.gather(*(writer(number) for number in range(5)))
    async with asyncio.timeout(30):
        await asyncio.gather(writing, reader())
    stop.set()
    await asyncio.gather(*looks)
    assert [event.position for event in read] == list(range(1, len(read) + 1))
    told = [tuple(event.data["mark"]) for event in read if "mark" in event.data]
    assert len(told) == len(committed)
    assert set(told) == committed
    for job_id in jobs:
        numbers = [number for job, number in told if job == job_id]
        assert numbers == sorted(numbers)
    assert await sequence(db) == 0


async def test_a_batch_ends_anywhere_and_the_next_goes_on_there(db: Database) -> None:
    for start in range(0, 12, 4):
        async with db.unit() as uow:
            await write(uow, *range(start, start + 4))
    assert await following.sequence(db, 5) == feed.Sequenced(5, True, False)
    assert await marks(db) == list(range(5))
    assert await sequence(db, 5) == 7
    assert await marks(db) == list(range(12))


async def test_what_dies_before_its_commit_has_done_nothing(db: Database) -> None:
    async with db.unit() as uow:
        await write(uow, "a", "b")

    async def die() -> None:
        async with db.unit() as uow:
            assert await feed.sequence(uow, 10) == feed.Sequenced(2, False, False)
            assert await following.sequence(db) is None, "another one is at it"
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        await die()
    assert await marks(db) == []
    assert await sequence(db) == 2
    assert await marks(db) == ["a", "b"]


async def test_a_database_restored_from_a_dump_goes_on(db: Database) -> None:
    async with db.unit() as uow:
        await write(uow, "told")
    await sequence(db)
    async with db.unit() as uow:
        await write(uow, "waiting")
    # As a dump brings it: ids of transactions that the new server has not come to yet.
    await sql(db, "UPDATE events SET written_in = written_in + 1000000000")
    await sql(db, "UPDATE consumers SET horizon = horizon + 1000000000 WHERE name = 'sequencer'")
    async with db.unit() as uow:
        await write(uow, "new")
    assert await sequence(db) == 2
    assert await marks(db) == ["told", "waiting", "new"]
    async with db.unit() as uow:
        await write(uow, "newer")
    assert await sequence(db) == 1


async def test_a_reader_gets_what_it_may_see_and_asks_for(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for mark in range(6):
        async with db.unit() as uow:
            await write(uow, mark, account="acme" if mark % 2 else "other")
    async with db.unit() as uow:
        await events.add(uow, [events.NewEvent(EventKind.NODE_ONLINE, {"mark": "node"}, None, None, "node_1")])
    await sequence(db)

    async def read(who: Any, after: int, limit: int = 10, *kinds: str) -> tuple[list[Any], int]:
        page = await following.page(db, who, after, limit, kinds)
        assert page.latest == 7
        return [event.data["mark"] for event in page.events], page.read_to

    operator = replace(OWNER, scopes=frozenset({"operator"}))
    assert await read(operator, 0) == ([0, 1, 2, 3, 4, 5, "node"], 7)
    assert await read(OWNER, 0) == ([1, 3, 5], 7)
    assert await read(OWNER, 2, 1) == ([3], 4)
    assert await read(STRANGER, 3) == ([4], 7)
    assert await read(operator, 0, 10, "node_online") == (["node"], 7)
    assert await read(OWNER, 0, 10, "node_online") == ([], 7)
    monkeypatch.setattr(feed, "SPAN", 3)
    assert await read(operator, 2, 10, "node_online") == ([], 5)
    assert await read(operator, 5, 10, "node_online") == (["node"], 7)
    assert await following.ends(db, ["", "acme", "nobody"]) == {"": 7, "acme": 6}


async def test_a_cursor_older_than_what_is_kept_is_refused(db: Database) -> None:
    assert await following.start(db, None) == 0
    async with db.unit() as uow:
        await write(uow, *range(5))
    await sequence(db)
    await sql(db, "DELETE FROM feed WHERE position <= 3")
    assert await following.start(db, None) == await following.start(db, 3) == 3
    with pytest.raises(Gone, match="up to position 3") as refused:
        await following.start(db, 2)
    assert refused.value.code == "cursor_expired"
    with pytest.raises(InvalidInput, match="ends at position 5"):
        await following.start(db, 6)
    await sql(db, "DELETE FROM feed")
    assert await following.start(db, None) == await following.start(db, 5) == 5
    with pytest.raises(Gone):
        await following.start(db, 4)


async def test_how_far_behind_everybody_is(db: Database) -> None:
    async with db.unit() as uow:
        await write(uow, *range(4))
    await sequence(db)
    async with db.unit() as uow:
        await write(uow, "waiting")
    lag = await following.lag(db)
    assert (lag.latest, lag.waiting, lag.consumers) == (4, 1, [("webhooks", 0, 4)])
    assert lag.waiting_s > 0
    await sequence(db)
    assert (await following.lag(db)).waiting == 0
