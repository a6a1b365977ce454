"""The agent_threads table: conversations with the agent graph. Their runs are in store/agent_runs.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.store.db import UnitOfWork
from app.store.rows import to_json


@dataclass(slots=True)
class ThreadRow:
    """A thread. ``about``: its metadata; ``state``: the values that its last run left, empty before the first.

    ``status``: busy while a run of it is under way, error if its last run ended in one, else idle.
    """

    id: str
    account: str
    about: dict[str, Any]
    state: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    status: str


# A run that is under way although its lease is over belongs to a server that died.
_STATUS = """CASE
    WHEN EXISTS (SELECT FROM agent_runs r WHERE r.thread_id = t.id AND r.status IN ('pending', 'running')
        AND r.lease_until > clock_timestamp()) THEN 'busy'
    WHEN (SELECT r.status FROM agent_runs r WHERE r.thread_id = t.id ORDER BY r.created_at DESC, r.id DESC LIMIT 1)
        IN ('error', 'pending', 'running') THEN 'error'
    ELSE 'idle' END"""
_ROWS = (
    f"SELECT t.id, t.account, t.about, t.state, t.created_at, t.updated_at, {_STATUS} AS status FROM agent_threads t"
)
_FOUND = f"""SELECT * FROM ({_ROWS}) found WHERE account = $1 AND about @> $2 AND ($3 = '' OR status = $3)
    AND ($4::text[] IS NULL OR id = ANY($4))"""
SORTS = {"thread_id": "id", "status": "status", "created_at": "created_at", "updated_at": "updated_at"}


@dataclass(frozen=True, slots=True)
class ThreadSearch:
    """``about``: what their metadata must hold; ``status``: empty = any; ``ids``: None = any. ``sort``: of SORTS."""

    about: dict[str, Any]
    status: str = ""
    ids: Sequence[str] | None = None
    sort: str = "created_at"
    descending: bool = True
    limit: int = 10
    offset: int = 0


async def insert(uow: UnitOfWork, thread_id: str, account: str, about: dict[str, Any]) -> bool:
    """Add a thread. False when there is one of that id, of this account or another."""
    found = await uow.sql.fetchval(
        """INSERT INTO agent_threads (id, account, about, state) VALUES ($1, $2, $3, '{}')
        ON CONFLICT (id) DO NOTHING RETURNING id""",
        thread_id,
        account,
        to_json(about),
    )
    return found is not None


async def get(uow: UnitOfWork, thread_id: str, account: str) -> ThreadRow | None:
    row = await uow.sql.fetchrow(f"{_ROWS} WHERE t.id = $1 AND t.account = $2", thread_id, account)
    return None if row is None else ThreadRow(*row.values())


async def lock(uow: UnitOfWork, thread_id: str, account: str) -> bool:
    """Keep others from adding runs to a thread, and from changing it, until the transaction ends; whether it exists.

    To be taken before any run is locked.
    """
    found = await uow.sql.fetchval(
        "SELECT id FROM agent_threads WHERE id = $1 AND account = $2 FOR NO KEY UPDATE", thread_id, account
    )
    return found is not None


async def describe(uow: UnitOfWork, thread_id: str, account: str, about: dict[str, Any]) -> bool:
    """Add to a thread's metadata; whether there was such a thread."""
    found = await uow.sql.fetchval(
        """UPDATE agent_threads SET about = about || $3, updated_at = now() WHERE id = $1 AND account = $2
        RETURNING id""",
        thread_id,
        account,
        to_json(about),
    )
    return found is not None


async def set_state(uow: UnitOfWork, thread_id: str, state: dict[str, Any]) -> None:
    """Write the values that a run left, in the transaction that ends the run."""
    await uow.sql.execute(
        "UPDATE agent_threads SET state = $2, updated_at = now() WHERE id = $1", thread_id, to_json(state)
    )


async def state(uow: UnitOfWork, thread_id: str) -> dict[str, Any]:
    """The values that the last run of a thread left; empty without a run or a thread."""
    return await uow.sql.fetchval("SELECT state FROM agent_threads WHERE id = $1", thread_id) or {}


async def delete(uow: UnitOfWork, thread_id: str) -> None:
    """Delete a thread that the caller has locked, with its runs."""
    await uow.sql.execute("DELETE FROM agent_runs WHERE thread_id = $1", thread_id)
    await uow.sql.execute("DELETE FROM agent_threads WHERE id = $1", thread_id)


async def search(uow: UnitOfWork, account: str, wanted: ThreadSearch) -> list[ThreadRow]:
    rows = await uow.sql.fetch(
        f"""{_FOUND} ORDER BY {SORTS[wanted.sort]} {"DESC" if wanted.descending else "ASC"}, id LIMIT $5 OFFSET $6""",
        *_wanted(account, wanted),
        wanted.limit,
        wanted.offset,
    )
    return [ThreadRow(*row.values()) for row in rows]


async def count(uow: UnitOfWork, account: str, wanted: ThreadSearch) -> int:
    """How many threads a search finds, whatever its limit."""
    found: int = await uow.sql.fetchval(f"SELECT count(*) FROM ({_FOUND}) all_found", *_wanted(account, wanted))
    return found


async def owned(uow: UnitOfWork, account: str) -> int:
    """How many threads the account has."""
    found: int = await uow.sql.fetchval("SELECT count(*) FROM agent_threads WHERE account = $1", account)
    return found


def _wanted(account: str, wanted: ThreadSearch) -> tuple[Any, ...]:
    return account, to_json(wanted.about), wanted.status, None if wanted.ids is None else list(wanted.ids)
