"""History and events: always written by the transaction of the change they tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.core.chaining import chained
from app.core.events import EventKind
from app.core.ids import new_id
from app.core.jobs import Move
from app.core.states import NodeState
from app.store.copying import copy_rows
from app.store.db import UnitOfWork
from app.store.rows import to_json


@dataclass(slots=True)
class NewEvent:
    """An event to tell. ``data`` is what the outside sees, amounts as base units."""

    kind: EventKind
    data: dict[str, Any]
    account: str | None = None
    job_id: str | None = None
    node_id: str | None = None


@dataclass(slots=True)
class StoredEvent:
    """An event as read back; ``seq`` rises within one job in the order of its commits."""

    seq: int
    id: str
    kind: str
    job_id: str | None
    node_id: str | None
    data: dict[str, Any]
    at: datetime


_SLACK = "interval '1 hour'"
"""How long before the transaction that made a job one may have begun that tells of it: partitions that ended earlier
are not looked into."""

NewDecision = tuple[str, int, str | None, dict[str, Any], dict[str, Any] | None]
"""``(job_id, attempt, node_id, explanation, inputs)`` of a match; ``inputs``: what it takes to make it again."""


@dataclass(slots=True)
class StoredDecision:
    """A decision as read back. ``inputs``: None where none were kept. ``offer``: node, price in base units per GPU-hour
    and slots of the offer that was made, None without one."""

    attempt: int
    node_id: str | None
    explanation: dict[str, Any]
    inputs: dict[str, Any] | None
    at: datetime
    offer: tuple[str, int, int] | None


async def add(uow: UnitOfWork, events: Sequence[NewEvent]) -> None:
    """Insert events; the sequencer gives them their places in the feed after the commit."""
    if not events:
        return
    if not any(event.job_id or event.node_id for event in events):
        # The sequencer counts on it that a transaction has its id before its events have their numbers. Others come
        # behind the change that they tell of, and have one.
        await uow.sql.execute("SELECT pg_current_xact_id()")
    ids = [new_id("evt") for _ in events]
    await copy_rows(
        uow,
        "events",
        ("id", "kind", "account", "job_id", "node_id", "data"),
        [
            (event_id, event.kind.value, event.account, event.job_id, event.node_id, to_json(event.data))
            for event_id, event in zip(ids, events, strict=True)
        ],
    )
    uow.hints.events = True
    uow.hints.jobs.update(event.job_id for event in events if event.job_id)


async def add_history(uow: UnitOfWork, moves: Sequence[Move], heads: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Insert one history row a transition, in the given order; each job's new head, for its row.

    ``heads``: hash of each job's last history row, absent or None before its first.
    """
    hashes, new = chained(moves, heads, uow.now)
    await write_history(uow, moves, hashes)
    return new


async def write_history(uow: UnitOfWork, moves: Sequence[Move], hashes: Sequence[bytes]) -> None:
    """Insert one history row a transition, in the given order, each with its hash (app/core/chaining.py)."""
    await copy_rows(
        uow,
        "job_history",
        ("job_id", "at", "from_state", "to_state", "attempt", "reason", "actor", "node_id", "hash"),
        [
            (
                move.job_id,
                uow.now,
                move.source.value if move.source else None,
                move.target.value,
                move.attempt,
                str(move.reason),
                move.actor,
                move.node_id,
                digest,
            )
            for move, digest in zip(moves, hashes, strict=True)
        ],
    )


async def history(uow: UnitOfWork, job_id: str) -> list[dict[str, Any]]:
    """A job's transitions, oldest first."""
    rows = await uow.sql.fetch(
        """SELECT from_state, to_state, attempt, reason, actor, node_id, at, hash FROM job_history
        WHERE job_id = $1 ORDER BY seq""",
        job_id,
    )
    return [dict(row) for row in rows]


async def add_node_history(uow: UnitOfWork, rows: Sequence[tuple[str, NodeState | None, NodeState, str, str]]) -> None:
    """Insert ``(node_id, from, to, reason, actor)`` rows."""
    await uow.sql.execute(
        """INSERT INTO node_history (id, node_id, from_state, to_state, reason, actor)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])""",
        [new_id("nhist") for _ in rows],
        [row[0] for row in rows],
        [row[1].value if row[1] else None for row in rows],
        [row[2].value for row in rows],
        [row[3] for row in rows],
        [row[4] for row in rows],
    )


async def of_job(uow: UnitOfWork, job_id: str, after: int, limit: int) -> list[StoredEvent]:
    """A job's events with ``seq`` above ``after``, oldest first.

    One job's events are written under the lock of its row, progress under that of its offer, which waves lock, too: so
    their ``seq`` follows their commits, and none is missed.
    """
    rows = await uow.sql.fetch(
        f"""SELECT seq, id, kind, job_id, node_id, data, at FROM events
        WHERE job_id = $1 AND seq > $2 AND at >= (SELECT created_at FROM jobs WHERE id = $1) - {_SLACK}
        ORDER BY seq LIMIT $3""",
        job_id,
        after,
        limit,
    )
    return [StoredEvent(row[0], row[1], row[2], row[3], row[4], row[5], row[6]) for row in rows]


async def latest(uow: UnitOfWork, job_ids: Sequence[str]) -> dict[str, int]:
    """The highest ``seq`` of each job's events: what event streams watch."""
    rows = await uow.sql.fetch(
        f"""SELECT asked.id, (SELECT max(seq) FROM events WHERE job_id = asked.id AND at >= j.created_at - {_SLACK})
        FROM unnest($1::text[]) AS asked(id) JOIN jobs j USING (id)""",
        job_ids,
    )
    return {row[0]: row[1] for row in rows if row[1] is not None}


async def add_decisions(uow: UnitOfWork, decisions: Sequence[NewDecision], looked_before: Sequence[str]) -> None:
    """Keep decisions; a later look at the same attempt replaces the earlier.

    ``looked_before``: the jobs that may have a row for this attempt already.
    """
    if looked_before:
        again = set(looked_before)
        await uow.sql.execute(
            """DELETE FROM match_decisions d USING unnest($1::text[], $2::int8[]) AS u(job_id, attempt)
            WHERE d.job_id = u.job_id AND d.attempt = u.attempt""",
            [one[0] for one in decisions if one[0] in again],
            [one[1] for one in decisions if one[0] in again],
        )
    await copy_rows(
        uow,
        "match_decisions",
        ("job_id", "attempt", "node_id", "explanation", "inputs"),
        [
            (job_id, attempt, node_id, to_json(told), None if inputs is None else to_json(inputs))
            for job_id, attempt, node_id, told, inputs in decisions
        ],
    )


async def decisions(uow: UnitOfWork, job_id: str, *, latest: bool = False) -> list[StoredDecision]:
    """Every decision kept of the job, or the ``latest`` alone, with the offer that followed it, oldest first: one an
    attempt."""
    rows = await uow.sql.fetch(
        """SELECT d.attempt, d.node_id, d.explanation, d.inputs, d.at, o.node_id, o.price, o.slots
        FROM match_decisions d LEFT JOIN offers o ON o.job_id = d.job_id AND o.attempt = d.attempt
        WHERE d.job_id = $1 ORDER BY d.attempt DESC LIMIT $2""",
        job_id,
        1 if latest else None,
    )
    return [
        StoredDecision(row[0], row[1], row[2], row[3], row[4], None if row[5] is None else (row[5], row[6], row[7]))
        for row in reversed(rows)
    ]
