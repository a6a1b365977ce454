"""Use cases of threads: conversations of an account with the agent graph. Their runs are in services/agent_runs.py."""

from __future__ import annotations

from typing import Any

from app.core.access import Principal
from app.core.errors import Conflict, NotFound, QuotaExceeded
from app.services.agent_runs import SERVER_DIED, no_such_run
from app.store import agent_runs, threads
from app.store.agent_runs import RunRow
from app.store.db import Database, UnitOfWork
from app.store.threads import ThreadRow, ThreadSearch

MOST = 10_000
"""Threads of one account."""


async def create(
    db: Database, principal: Principal, thread_id: str, about: dict[str, Any], *, may_exist: bool = False
) -> ThreadRow:
    """A new thread; with ``may_exist``, the caller's thread of that id as it is. Raises Conflict, QuotaExceeded."""
    async with db.unit() as uow:
        await ensure(uow, principal, thread_id, about, may_exist=may_exist)
        return await known(uow, principal, thread_id)


async def ensure(
    uow: UnitOfWork, principal: Principal, thread_id: str, about: dict[str, Any], *, may_exist: bool
) -> None:
    """Have a thread of that id, in the caller's transaction. Raises as create."""
    if await threads.get(uow, thread_id, principal.account) is None:
        if await threads.owned(uow, principal.account) >= MOST:
            raise QuotaExceeded(f"an account may have {MOST} threads", next_action="Delete those of no more use.")
        if await threads.insert(uow, thread_id, principal.account, about):
            return
        if may_exist and await threads.get(uow, thread_id, principal.account) is not None:
            return
    elif may_exist:
        return
    raise Conflict(
        f"there is a thread {thread_id} already",
        code="thread_exists",
        field="thread_id",
        next_action='Leave thread_id out, or send "if_exists": "do_nothing" to take up a thread of yours.',
    )


async def get(db: Database, principal: Principal, thread_id: str) -> ThreadRow:
    """A thread of the caller's account. Raises NotFound."""
    async with db.unit() as uow:
        return await known(uow, principal, thread_id)


async def describe(db: Database, principal: Principal, thread_id: str, about: dict[str, Any]) -> ThreadRow:
    """Add to a thread's metadata. Raises NotFound."""
    async with db.unit() as uow:
        await threads.describe(uow, thread_id, principal.account, about)
        return await known(uow, principal, thread_id)


async def delete(db: Database, principal: Principal, thread_id: str) -> None:
    """Delete a thread and its runs. Raises NotFound, and Conflict while one of them is under way."""
    async with db.unit() as uow:
        if not await threads.lock(uow, thread_id, principal.account):
            raise no_such_thread(thread_id)
        await agent_runs.bury(uow, [], thread_id, SERVER_DIED)
        if await agent_runs.under_way(uow, thread_id):
            raise Conflict(
                f"a run of thread {thread_id} is under way",
                code="thread_busy",
                next_action="Cancel the run, or wait for its end, and delete the thread then.",
            )
        await threads.delete(uow, thread_id)


async def search(db: Database, principal: Principal, wanted: ThreadSearch) -> list[ThreadRow]:
    """The account's threads that are wanted."""
    async with db.unit() as uow:
        return await threads.search(uow, principal.account, wanted)


async def count(db: Database, principal: Principal, wanted: ThreadSearch) -> int:
    """How many threads ``search`` would find without a limit."""
    async with db.unit() as uow:
        return await threads.count(uow, principal.account, wanted)


async def history(
    db: Database, principal: Principal, thread_id: str, limit: int, *, before: str = "", at: str = ""
) -> list[RunRow]:
    """Runs of a thread that have started, newest first: those added before the run ``before``, or the run ``at`` and
    those before it; without either, the newest. Raises NotFound."""
    async with db.unit() as uow:
        await known(uow, principal, thread_id)
        if not before and not at:
            return await agent_runs.started(uow, thread_id, limit)
        last = await agent_runs.get(uow, before or at, principal.account)
        if last is None or last.thread_id != thread_id:
            raise no_such_run(before or at)
        first = [last] if at else []
        return first + await agent_runs.started(uow, thread_id, limit - len(first), last.created_at)


async def known(uow: UnitOfWork, principal: Principal, thread_id: str) -> ThreadRow:
    """A thread of the caller's account, in the caller's transaction. Raises NotFound."""
    row = await threads.get(uow, thread_id, principal.account)
    if row is None:
        raise no_such_thread(thread_id)
    return row


def no_such_thread(thread_id: str) -> NotFound:
    return NotFound(f"there is no thread {thread_id[:60]}", code="thread_not_found", field="thread_id")
