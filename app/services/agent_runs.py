"""Use cases of runs of the agent graph: recorded before they start, ended once, never run twice.

A run belongs to the process that recorded it. When that dies, the run's lease ends, and whoever looks at it next finds
it in error: what its calls did stands, and nobody carries them out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.core.access import Principal
from app.core.errors import Conflict, NotFound
from app.store import agent_runs, threads
from app.store.agent_runs import RunMark, RunRow
from app.store.db import Database, UnitOfWork

LEASE_S = 15.0
"""A process that has not been heard of for that long counts as dead. It renews its leases three times as often."""
KEPT_S = 3_600.0
"""Runs without a thread are kept that long."""
QUEUE = 50
"""Runs of one thread that may be under way, all but one of them waiting."""
SERVER_DIED = "server_restarted: the server that had this run died; what its calls have done stands"


@dataclass(frozen=True, slots=True)
class NewRun:
    """``thread_id``: None = alone. ``strategy``: what to do about runs of the thread that are under way: reject (this
    one), enqueue (this one), interrupt or rollback (those)."""

    id: str
    thread_id: str | None
    request: dict[str, Any]
    strategy: str = "enqueue"


async def add(uow: UnitOfWork, principal: Principal, new: NewRun) -> tuple[RunRow, list[str]]:
    """Record a pending run in the caller's transaction: its row, and the runs that it has asked to end.

    Raises NotFound without its thread, Conflict where the thread is busy and must not be.
    """
    displaced: list[str] = []
    if new.thread_id is not None:
        if not await threads.lock(uow, new.thread_id, principal.account):
            raise NotFound(
                f"there is no thread {new.thread_id}",
                code="thread_not_found",
                field="thread_id",
                next_action='Create it first, or send "if_not_exists": "create".',
            )
        await agent_runs.bury(uow, [], new.thread_id, SERVER_DIED)
        others = await agent_runs.under_way(uow, new.thread_id)
        if others and (new.strategy == "reject" or len(others) >= QUEUE):
            raise Conflict(
                f"run {others[0]} of thread {new.thread_id} is under way",
                code="thread_busy",
                field="multitask_strategy",
                next_action='Join that run, or send "multitask_strategy": "enqueue", "interrupt" or "rollback".',
            )
        if new.strategy in ("interrupt", "rollback"):
            rollback = new.strategy == "rollback"
            displaced = await agent_runs.request_cancel(uow, others, principal.account, rollback=rollback)
    row = RunRow(
        new.id, new.thread_id, principal.account, principal.key_id, "pending", new.request, None, None, False,
        uow.now, uow.now,
    )  # fmt: skip
    return await agent_runs.insert(uow, row, LEASE_S), displaced


async def get(db: Database, principal: Principal, run_id: str, thread_id: str | None) -> RunRow:
    """A run of the caller's account on that thread (None = alone). Raises NotFound."""
    async with db.unit() as uow:
        await agent_runs.bury(uow, [run_id], None, SERVER_DIED)
        row = await agent_runs.get(uow, run_id, principal.account)
    if row is None or row.thread_id != thread_id:
        raise no_such_run(run_id)
    return row


async def listing(
    db: Database, principal: Principal, thread_id: str, status: str, limit: int, offset: int
) -> list[RunRow]:
    """Runs of a thread, newest first, with that status (empty = any). Raises NotFound."""
    async with db.unit() as uow:
        if await threads.get(uow, thread_id, principal.account) is None:
            raise NotFound(f"there is no thread {thread_id}", code="thread_not_found", field="thread_id")
        await agent_runs.bury(uow, [], thread_id, SERVER_DIED)
        return await agent_runs.of_thread(uow, thread_id, status, limit, offset)


async def turn(db: Database, row: RunRow) -> tuple[str, dict[str, Any]]:
    """Whose turn it is on a run's thread: ``(earlier run or empty, values that the thread has)``."""
    if row.thread_id is None:
        return "", {}
    async with db.unit() as uow:
        await agent_runs.bury(uow, [], row.thread_id, SERVER_DIED)
        first = (await agent_runs.under_way(uow, row.thread_id))[:1]
        state = await threads.state(uow, row.thread_id)
    return (first[0] if first and first[0] != row.id else ""), state


async def start(db: Database, run_id: str, output: dict[str, Any]) -> bool:
    """pending → running with its first output. False when it is not its turn, or it is to be cancelled, or over."""
    async with db.unit() as uow:
        return await agent_runs.start(uow, run_id, output)


async def save(db: Database, run_id: str, output: dict[str, Any]) -> bool:
    """Write how far a run has come. False when somebody else has ended it."""
    async with db.unit() as uow:
        return await agent_runs.save(uow, run_id, output)


async def finish(
    db: Database, row: RunRow, status: str, output: dict[str, Any] | None, values: dict[str, Any], error: str | None
) -> bool:
    """End a run, leaving ``values`` on its thread; or delete it, where a rollback was asked for, leaving none.

    False when it was over already.
    """
    async with db.unit() as uow:
        if row.thread_id is not None:
            await threads.lock(uow, row.thread_id, row.account)
        request = await agent_runs.finish(uow, row.id, status, output, error)
        if request is None:
            return False
        if request.get("rollback"):
            await agent_runs.delete(uow, row.id)
        elif row.thread_id is not None and output is not None:
            await threads.set_state(uow, row.thread_id, values)
        return True


async def cancel(db: Database, principal: Principal, run_id: str, thread_id: str | None, *, rollback: bool) -> None:
    """Have a run end as interrupted, or, by ``rollback``, be deleted without a trace on its thread; one that is over
    stays as it is. The process that has it sees to that. Raises NotFound."""
    async with db.unit() as uow:
        await agent_runs.bury(uow, [run_id], None, SERVER_DIED)
        row = await agent_runs.get(uow, run_id, principal.account)
        if row is None or row.thread_id != thread_id:
            raise no_such_run(run_id)
        await agent_runs.request_cancel(uow, [run_id], principal.account, rollback=rollback)


async def cancel_many(
    db: Database, principal: Principal, thread_id: str, run_ids: Sequence[str], status: str, *, rollback: bool
) -> list[str]:
    """As cancel, for these runs of a thread, or for all runs of the account with that status (all = any); the ids of
    those that were under way."""
    async with db.unit() as uow:
        if run_ids:
            mine = await agent_runs.under_way(uow, thread_id)
            wanted = [run_id for run_id in mine if run_id in set(run_ids)]
        else:
            wanted = await agent_runs.under_way_of(uow, principal.account, "" if status == "all" else status)
        return await agent_runs.request_cancel(uow, wanted, principal.account, rollback=rollback)


async def delete(db: Database, principal: Principal, run_id: str, thread_id: str | None) -> None:
    """Delete a run that is over. Raises NotFound, Conflict."""
    async with db.unit() as uow:
        await agent_runs.bury(uow, [run_id], None, SERVER_DIED)
        row = await agent_runs.get(uow, run_id, principal.account)
        if row is None or row.thread_id != thread_id:
            raise no_such_run(run_id)
        if not await agent_runs.delete(uow, run_id):
            raise Conflict(f"run {run_id} is under way", code="run_active", next_action="Cancel it first.")


async def marks(db: Database, run_ids: Sequence[str]) -> dict[str, RunMark]:
    """What waiters look at, of each run; the dead are buried on the way."""
    async with db.unit() as uow:
        await agent_runs.bury(uow, run_ids, None, SERVER_DIED)
        return await agent_runs.marks(uow, run_ids)


async def renew(db: Database, run_ids: Sequence[str]) -> None:
    """This process lives, and has these runs still."""
    async with db.unit() as uow:
        await agent_runs.renew(uow, run_ids, LEASE_S)


async def prune(db: Database) -> int:
    """Delete runs alone whose time is over, a batch of them; how many."""
    async with db.unit() as uow:
        return await agent_runs.prune(uow, KEPT_S, 500)


def no_such_run(run_id: str) -> NotFound:
    return NotFound(f"there is no run {run_id[:60]}", code="run_not_found", field="run_id")
