"""Cursors, pages and the leader's epoch on a real database."""

from __future__ import annotations

import asyncio

import pytest

from app.store.chain import cursors
from app.store.chain.cursors import LeadershipLost, Page
from app.store.db import Database
from app.store.leader import Leadership

PROGRAM = "Gx7UjBjVKHNqiQGPzWGVxQb8j4ZKN5cVx5TmPvRfZ8U"


async def lead(db: Database, holder: str = "one") -> int:
    async with db.unit() as uow:
        return await cursors.take_over(uow, holder)


async def test_a_cursor_is_made_once_and_keeps_what_is_saved(db: Database) -> None:
    epoch = await lead(db)
    async with db.unit() as uow:
        cursor = await cursors.get(uow, PROGRAM, epoch)
        assert (cursor.slot, cursor.signature, cursor.scanning) == (0, None, False)
        cursor.slot, cursor.signature, cursor.stalled = 7, "sig", "why"
        await cursors.save(uow, cursor, epoch)
    # Nothing before its slot is missing, either.
    cursor.seen_slot = 6
    async with db.unit() as uow:
        assert await cursors.get(uow, PROGRAM, epoch) == cursor


async def test_an_older_epoch_writes_nothing(db: Database) -> None:
    old = await lead(db)
    async with db.unit() as uow:
        cursor = await cursors.get(uow, PROGRAM, old)
    new = await lead(db, "two")
    assert new == old + 1
    for act in (
        lambda uow: cursors.get(uow, PROGRAM, old),
        lambda uow: cursors.save(uow, cursor, old),
        lambda uow: cursors.guard(uow, old),
        lambda uow: cursors.seen(uow, PROGRAM, old, 5),
        lambda uow: cursors.note_slots(uow, old, tip=1, finalized=1),
    ):
        with pytest.raises(LeadershipLost):
            async with db.unit() as uow:
                await act(uow)
    async with db.unit() as uow:
        assert (await cursors.get(uow, PROGRAM, new)).slot == 0


async def test_a_successor_waits_for_the_transaction_under_way(db: Database) -> None:
    old = await lead(db)
    async with db.unit() as uow:
        cursor = await cursors.get(uow, PROGRAM, old)
        taking = asyncio.create_task(lead(db, "two"))
        done, _ = await asyncio.wait((taking,), timeout=0.2)
        assert not done, "the lead was taken in the middle of a guarded transaction"
        cursor.slot = 9
        await cursors.save(uow, cursor, old)
    new = await taking
    async with db.unit() as uow:
        assert (await cursors.get(uow, PROGRAM, new)).slot == 9


async def test_pages_are_worked_off_from_the_oldest_in_parts(db: Database) -> None:
    await lead(db)
    async with db.unit() as uow:
        await cursors.add_page(uow, PROGRAM, [("f", 6), ("e", 5), ("d", 4)])
        await cursors.add_page(uow, PROGRAM, [("c", 3), ("b", 2), ("a", 1)])
    seen = []
    while True:
        async with db.unit() as uow:
            pages = await cursors.next_pages(uow, PROGRAM, 1)
            if not pages:
                break
            page = Page(pages[0].id, pages[0].done, pages[0].entries[:2])
            seen += page.entries
            assert await cursors.worked_off(uow, page)
            assert not await cursors.worked_off(uow, page), "the same part counted twice"
    assert seen == [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5), ("f", 6)]
    async with db.unit() as uow:
        assert await cursors.next_pages(uow, PROGRAM, 1) == []
        assert await cursors.recent(uow, PROGRAM, 4) == {"d": 4, "e": 5, "f": 6}
        await cursors.forget_pages(uow, {PROGRAM: 4})
        assert await cursors.recent(uow, PROGRAM, 0) == {"d": 4, "e": 5, "f": 6}


async def test_rewinding_forgets_the_listing_and_keeps_the_epoch(db: Database) -> None:
    epoch = await lead(db)
    async with db.unit() as uow:
        cursor = await cursors.get(uow, PROGRAM, epoch)
        cursor.slot, cursor.signature, cursor.scan_slot, cursor.scan_listed = 50, "sig", 60, True
        await cursors.save(uow, cursor, epoch)
        await cursors.add_page(uow, PROGRAM, [("a", 1)])
    async with db.unit() as uow:
        await cursors.rewind(uow, PROGRAM, 20)
    async with db.unit() as uow:
        cursor = await cursors.get(uow, PROGRAM, epoch)
        assert (cursor.slot, cursor.signature, cursor.scanning, cursor.scan_listed) == (20, None, False, False)
        assert await cursors.next_pages(uow, PROGRAM, 10) == []


async def test_one_leads_and_the_next_follows(database_url: str) -> None:
    one, two = Leadership(database_url, "test"), Leadership(database_url, "test")
    other = Leadership(database_url, "another lock")
    try:
        assert await one.try_acquire()
        assert await one.held()
        assert not await two.try_acquire()
        assert await other.try_acquire()
        await one.release()
        assert not await one.held()
        assert await two.try_acquire()
    finally:
        for each in (one, two, other):
            await each.release()


async def test_the_lead_goes_with_its_connection(database_url: str, db: Database) -> None:
    one, two = Leadership(database_url, "test"), Leadership(database_url, "test")
    try:
        assert await one.try_acquire()
        async with db.unit() as uow:
            await uow.sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            )
        async with asyncio.timeout(10):
            while not await two.try_acquire():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not await one.held()
    finally:
        for each in (one, two):
            await each.release()


async def test_no_lead_without_a_database() -> None:
    away = Leadership("postgresql://nobody@127.0.0.1:9/none", "test")
    assert not await away.try_acquire()
    assert not await away.held()
