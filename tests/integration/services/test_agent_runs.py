"""Runs of the agent graph under races: one at a time on a thread, each ended once, whoever tries."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from app.core.access import Principal
from app.core.errors import Conflict, NotFound, QuotaExceeded
from app.services import agent_runs, threads
from app.services.agent_runs import SERVER_DIED, NewRun
from app.store import agent_runs as rows
from app.store import threads as thread_rows
from app.store.agent_runs import RunRow
from app.store.db import Database

ALICE = Principal("key_1", "alice", frozenset({"agent"}))
OUTPUT: dict[str, Any] = {"messages": [], "calls": [], "order": []}


async def a_thread(db: Database) -> str:
    return (await threads.create(db, ALICE, str(uuid.uuid4()), {})).id


async def a_run(db: Database, thread_id: str | None, strategy: str = "enqueue") -> RunRow:
    async with db.unit() as uow:
        row, _ = await agent_runs.add(uow, ALICE, NewRun(str(uuid.uuid4()), thread_id, {"calls": []}, strategy))
    return row


async def expire(db: Database, run_id: str) -> None:
    async with db.unit() as uow:
        await uow.sql.execute("UPDATE agent_runs SET lease_until = now() - interval '1 s' WHERE id = $1", run_id)


async def test_runs_of_a_thread_start_one_at_a_time_and_in_their_order(db: Database) -> None:
    thread_id = await a_thread(db)
    made = await asyncio.gather(*(a_run(db, thread_id) for _ in range(8)))
    started: list[str] = []

    async def drive(run: RunRow) -> None:
        while not await agent_runs.start(db, run.id, OUTPUT):
            pass
        started.append(run.id)
        async with db.unit() as uow:
            found = await rows.under_way(uow, thread_id)
            running = await uow.sql.fetchval(
                "SELECT count(*) FROM agent_runs WHERE thread_id = $1 AND status = 'running'", thread_id
            )
        assert (found[0], running) == (run.id, 1)
        assert await agent_runs.finish(db, run, "success", OUTPUT, {"last": run.id}, None)

    await asyncio.gather(*(drive(run) for run in made))
    listed = await agent_runs.listing(db, ALICE, thread_id, "success", 100, 0)
    assert [run.id for run in reversed(listed)] == started
    assert (await threads.get(db, ALICE, thread_id)).state == {"last": started[-1]}


async def test_a_run_is_ended_once_whoever_tries(db: Database) -> None:
    for _ in range(10):
        thread_id = await a_thread(db)
        run = await a_run(db, thread_id)
        assert await agent_runs.start(db, run.id, OUTPUT)
        await expire(db, run.id)
        *ended, _, _ = await asyncio.gather(
            agent_runs.finish(db, run, "success", OUTPUT, {"by": 1}, None),
            agent_runs.finish(db, run, "interrupted", OUTPUT, {"by": 2}, "run_cancelled"),
            agent_runs.marks(db, [run.id]),
            agent_runs.cancel(db, ALICE, run.id, thread_id, rollback=False),
        )
        row = await agent_runs.get(db, ALICE, run.id, thread_id)
        state = (await threads.get(db, ALICE, thread_id)).state
        assert ended.count(True) <= 1
        expected = {"success": (True, False, {"by": 1}), "interrupted": (False, True, {"by": 2})}
        assert (*ended, state) == expected.get(row.status, (False, False, {}))
        assert (row.error == SERVER_DIED) is (row.status == "error")
        assert not await agent_runs.save(db, run.id, OUTPUT)
        assert not await agent_runs.start(db, run.id, OUTPUT)


async def test_a_dead_server_blocks_no_thread(db: Database) -> None:
    thread_id = await a_thread(db)
    dead, queued = await a_run(db, thread_id), await a_run(db, thread_id)
    assert await agent_runs.start(db, dead.id, OUTPUT)
    assert (await agent_runs.turn(db, queued))[0] == dead.id
    await expire(db, dead.id)
    assert (await agent_runs.turn(db, queued))[0] == ""
    assert await agent_runs.start(db, queued.id, OUTPUT)
    assert (await agent_runs.get(db, ALICE, dead.id, thread_id)).status == "error"
    # Its own server comes back to life, and finds that it has lost it; a lease that is over cannot be renewed.
    await agent_runs.renew(db, [dead.id])
    assert not await agent_runs.save(db, dead.id, OUTPUT)


async def test_a_renewed_lease_keeps_a_run(db: Database) -> None:
    run = await a_run(db, None)
    await expire(db, run.id)
    await agent_runs.renew(db, [run.id])
    assert not (await agent_runs.marks(db, [run.id]))[run.id].over


async def test_a_run_that_was_called_off_does_not_start(db: Database) -> None:
    thread_id = await a_thread(db)
    first, second = await a_run(db, thread_id), await a_run(db, thread_id, "rollback")
    assert not await agent_runs.start(db, first.id, OUTPUT)
    assert await agent_runs.finish(db, first, "interrupted", None, {}, "run_cancelled")
    with pytest.raises(NotFound):
        await agent_runs.get(db, ALICE, first.id, thread_id)
    assert await agent_runs.start(db, second.id, OUTPUT)


async def test_a_start_whose_confirmation_was_lost_is_repeated(db: Database) -> None:
    run = await a_run(db, None)
    assert await agent_runs.start(db, run.id, OUTPUT)
    assert await agent_runs.start(db, run.id, OUTPUT)


async def test_a_thread_takes_so_many_runs_and_an_account_so_many_threads(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await a_thread(db)
    monkeypatch.setattr(agent_runs, "QUEUE", 2)
    for _ in range(2):
        await a_run(db, thread_id)
    with pytest.raises(Conflict, match="under way"):
        await a_run(db, thread_id)
    monkeypatch.setattr(threads, "MOST", 1)
    with pytest.raises(QuotaExceeded):
        await a_thread(db)


async def test_one_of_two_that_make_a_thread_of_the_same_id_gets_it(db: Database) -> None:
    bob = Principal("key_2", "bob", frozenset({"agent"}))
    for _ in range(5):
        thread_id = str(uuid.uuid4())
        made = await asyncio.gather(
            *(threads.create(db, who, thread_id, {}, may_exist=True) for who in (ALICE, bob, ALICE)),
            return_exceptions=True,
        )
        async with db.unit() as uow:
            owner = await uow.sql.fetchval("SELECT account FROM agent_threads WHERE id = $1", thread_id)
            assert await thread_rows.lock(uow, thread_id, owner)
        for who, answer in zip(("alice", "bob", "alice"), made, strict=True):
            assert isinstance(answer, Conflict) is (who != owner)
