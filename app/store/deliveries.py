"""Deliveries: every event of the feed reaches every endpoint that wants it, at least once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from app.core.deliveries import HOOK_PREFIX, Delivery, DeliveryOutcome, Event, Fanned, WaitingHook
from app.core.events import LAST_EVENTS, TOLD_AGENTS
from app.store import feed, hooks
from app.store.db import Database, UnitOfWork
from app.store.feed import FeedEvent

CONSUMER: Final = "webhooks"
"""The feed's consumer whose position says which events have their deliveries."""

UNCLAIMED_S: Final = 900.0
"""Due for so long and taken by no worker: none of them knows the endpoint."""

FORGOTTEN_S: Final = 30 * 24 * 3600.0
"""Hooks that have ended are kept that long."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Subscriber(Protocol):
    """What fanning out needs to know of an endpoint."""

    @property
    def name(self) -> str: ...

    def wants(self, kind: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class DeadDelivery:
    """A delivery that was given up, and why. ``at``: when its event was."""

    id: str
    event_id: str
    endpoint: str
    kind: str
    job_id: str | None
    tries: int
    status_code: int | None
    error: str | None
    at: datetime


def delivery_id(event_id: str, at: datetime, endpoint: str) -> str:
    """The id of an event's delivery: it holds the time, which says in which partition to look."""
    return f"{event_id}:{(at - _EPOCH) // timedelta(microseconds=1)}:{endpoint}"


def parts_of(id_: str) -> tuple[str, datetime, str]:
    """``(event_id, at, endpoint)``. Raises ValueError when it cannot be the id of a delivery."""
    event_id, at, endpoint = id_.split(":", 2)
    try:
        return event_id, _EPOCH + timedelta(microseconds=int(at)), endpoint
    except OverflowError:
        raise ValueError("a time beyond all calendars") from None


class DeliveryRows:
    """Deliveries in Postgres, one transaction a call."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def fan_out(self, endpoints: Sequence[Subscriber], limit: int) -> Fanned:
        """Make the deliveries of up to ``limit`` further events of the feed, to these endpoints and to the hooks of
        each event's account; none also while another process is at it.

        Hooks are looked up by the very statement that makes their deliveries, after the events were read: a hook gets
        every event that is committed after it.
        """
        async with self.db.unit() as uow:
            # With the second lock, nobody is just adding a hook for a job that ends (hooks.hold_fan_out).
            row = await uow.sql.fetchrow(
                """SELECT position, pg_advisory_xact_lock(hashtextextended('hae_fan_out', 0)) FROM consumers
                WHERE name = $1 FOR UPDATE SKIP LOCKED""",
                CONSUMER,
            )
            if row is None:
                return Fanned()
            after = row[0]
            if not endpoints:
                latest = await feed.end(uow)
                # In this order: a hook that is not there yet gets no event up to ``latest``.
                if not await hooks.any_live(uow):
                    await feed.move_cursor(uow, CONSUMER, latest)
                    return Fanned()
            page = await feed.read(uow, after, limit)
            if page.read_to == after:
                return Fanned()
            hooked = await _insert(uow, page.events, endpoints)
            await feed.move_cursor(uow, CONSUMER, page.read_to)
        return Fanned(len(page.events), hooked)

    async def claim(self, limit: int, lease_s: float, endpoint: str) -> list[Delivery]:
        """Up to ``limit`` due deliveries of this endpoint, oldest due first, leased for ``lease_s`` seconds."""
        async with self.db.unit() as uow:
            rows = await uow.sql.fetch(
                """WITH due AS (SELECT event_id, endpoint, at FROM deliveries
                    WHERE state = 'pending' AND due_at <= clock_timestamp() AND endpoint = $3
                    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED),
                claimed AS (UPDATE deliveries d SET tries = tries + 1,
                    due_at = clock_timestamp() + make_interval(secs => $2)
                    FROM due WHERE d.event_id = due.event_id AND d.endpoint = due.endpoint AND d.at = due.at
                    RETURNING d.event_id, d.endpoint, d.at, d.tries)
                SELECT c.event_id, c.endpoint, c.tries, e.kind, c.at, e.data
                FROM claimed c JOIN events e ON e.id = c.event_id AND e.at = c.at ORDER BY e.seq""",
                limit,
                float(lease_s),
                endpoint,
            )
        return [_claimed(row) for row in rows]

    async def waiting_hooks(self, after: str, busy: Sequence[str], limit: int) -> list[WaitingHook]:
        """Up to ``limit`` hooks with something due, in the order of their endpoints from behind ``after``; not the
        ``busy``."""
        async with self.db.unit() as uow:
            return await hooks.waiting(uow, after, busy, limit)

    async def claim_hooks(self, endpoints: Sequence[str], each: int, lease_s: float) -> list[Delivery]:
        """Up to ``each`` due deliveries of each of these endpoints, oldest first, leased for ``lease_s`` seconds."""
        async with self.db.unit() as uow:
            rows = await uow.sql.fetch(
                """WITH due AS (SELECT d.event_id, d.endpoint, d.at FROM unnest($1::text[]) AS asked(endpoint)
                    CROSS JOIN LATERAL (SELECT event_id, endpoint, at FROM deliveries
                        WHERE state = 'pending' AND endpoint = asked.endpoint AND due_at <= now()
                        ORDER BY due_at, at, event_id LIMIT $2 FOR UPDATE SKIP LOCKED) AS d),
                claimed AS (UPDATE deliveries d SET tries = tries + 1,
                    due_at = clock_timestamp() + make_interval(secs => $3)
                    FROM due WHERE d.event_id = due.event_id AND d.endpoint = due.endpoint AND d.at = due.at
                    RETURNING d.event_id, d.endpoint, d.at, d.tries)
                SELECT c.event_id, c.endpoint, c.tries, e.kind, c.at, e.data
                FROM claimed c JOIN events e ON e.id = c.event_id AND e.at = c.at ORDER BY e.seq""",
                list(endpoints),
                each,
                float(lease_s),
            )
        return [_claimed(row) for row in rows]

    async def give_up_hooks(self, endpoints: Sequence[str], reason: str) -> None:
        """Give up what is due for these endpoints, of hooks that are not any more."""
        async with self.db.unit() as uow:
            await hooks.give_up(uow, endpoints, reason)

    async def settle(self, outcomes: Sequence[DeliveryOutcome]) -> None:
        """Record what became of claimed deliveries; those delivered before stay delivered. Hooks end here."""
        if not outcomes:
            return
        ids = [parts_of(outcome.id) for outcome in outcomes]
        async with self.db.unit() as uow:
            await uow.sql.execute(
                """UPDATE deliveries d SET state = u.state, status_code = u.status_code, error = u.error,
                    due_at = CASE WHEN u.next_in_s IS NULL THEN d.due_at
                        ELSE clock_timestamp() + make_interval(secs => u.next_in_s) END,
                    delivered_at = CASE WHEN u.state = 'delivered' THEN clock_timestamp() END
                FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::int[], $6::text[], $7::float8[])
                    AS u(event_id, at, endpoint, state, status_code, error, next_in_s)
                WHERE d.event_id = u.event_id AND d.at = u.at AND d.endpoint = u.endpoint AND d.state = 'pending'""",
                [event_id for event_id, _, _ in ids],
                [at for _, at, _ in ids],
                [endpoint for _, _, endpoint in ids],
                [outcome.state.value for outcome in outcomes],
                [outcome.status_code for outcome in outcomes],
                [outcome.error for outcome in outcomes],
                [outcome.next_in_s for outcome in outcomes],
            )
            hooked = [
                (endpoint.removeprefix(HOOK_PREFIX), outcome)
                for (_, _, endpoint), outcome in zip(ids, outcomes, strict=True)
                if endpoint.startswith(HOOK_PREFIX)
            ]
            if hooked:
                await hooks.note(uow, hooked)

    async def retire(self, endpoints: Sequence[str]) -> int:
        """Give up the deliveries of endpoints that are not among these, once they have been due for UNCLAIMED_S; how
        many.

        By then no worker knows the endpoint: not even one with newer settings, while they are being replaced. Hooks
        that ended long ago are forgotten.
        """
        async with self.db.unit() as uow:
            done = await uow.sql.execute(
                """UPDATE deliveries SET state = 'dead', error = 'the endpoint is no longer in the settings'
                WHERE state = 'pending' AND endpoint <> ALL($1::text[]) AND NOT starts_with(endpoint, $3)
                    AND due_at < clock_timestamp() - make_interval(secs => $2)""",
                list(endpoints),
                UNCLAIMED_S,
                HOOK_PREFIX,
            )
            await hooks.forget(uow, FORGOTTEN_S)
        return int(done.split()[-1])

    async def counts(self) -> dict[str, int]:
        """Deliveries by state."""
        async with self.db.unit() as uow:
            rows = await uow.sql.fetch("SELECT state, count(*) FROM deliveries GROUP BY state")
        return {row[0]: row[1] for row in rows}


async def _insert(uow: UnitOfWork, told: Sequence[FeedEvent], endpoints: Sequence[Subscriber]) -> bool:
    """Make the deliveries of these events, in one statement; whether any is for a hook."""
    wanted = [(event, end.name) for event in told for end in endpoints if end.wants(event.kind)]
    hookable = [event for event in told if event.account is not None and event.kind in TOLD_AGENTS]
    if not wanted and not hookable:
        return False
    hooked: bool = await uow.sql.fetchval(
        """WITH hooked AS (SELECT e.id, e.at, $10 || h.id AS endpoint
            FROM unnest($4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[])
                AS e(id, at, kind, account, subject)
            JOIN agent_hooks h ON h.account = e.account AND h.ended_at IS NULL AND h.subject IN ('', e.subject)
                AND (h.kinds = '{}' OR e.kind = ANY(h.kinds) OR (h.subject <> '' AND e.kind = ANY($9::text[])))),
        made AS (INSERT INTO deliveries (event_id, at, endpoint)
            SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[]) UNION ALL SELECT * FROM hooked
            ON CONFLICT DO NOTHING)
        SELECT EXISTS (SELECT FROM hooked)""",
        [event.id for event, _ in wanted],
        [event.at for event, _ in wanted],
        [endpoint for _, endpoint in wanted],
        [event.id for event in hookable],
        [event.at for event in hookable],
        [event.kind for event in hookable],
        [event.account for event in hookable],
        [event.job_id or str(event.data.get("plan_id") or "") for event in hookable],
        sorted(LAST_EVENTS),
        HOOK_PREFIX,
    )
    return hooked


def _claimed(row: Any) -> Delivery:
    """From ``(event_id, endpoint, tries, kind, at, data)``."""
    return Delivery(delivery_id(row[0], row[4], row[1]), Event(row[0], row[3], row[4], row[5]), row[1], row[2])


async def dead(uow: UnitOfWork, endpoint: str | None, before: str | None, limit: int) -> list[DeadDelivery]:
    """Deliveries that were given up (of the endpoint, None = all), newest event first, from behind the one with the id
    ``before``. Raises ValueError when that cannot be one."""
    event_id, at, last = parts_of(before) if before else ("", datetime.max.replace(tzinfo=UTC), "")
    rows = await uow.sql.fetch(
        """SELECT d.event_id, d.endpoint, e.kind, e.job_id, d.tries, d.status_code, d.error, d.at
        FROM deliveries d JOIN events e ON e.id = d.event_id AND e.at = d.at
        WHERE d.state = 'dead' AND (d.at, d.event_id, d.endpoint) < ($1, $2, $3)
            AND ($4::text IS NULL OR d.endpoint = $4)
        ORDER BY d.at DESC, d.event_id DESC, d.endpoint DESC LIMIT $5""",
        at,
        event_id,
        last,
        endpoint,
        limit,
    )
    return [DeadDelivery(delivery_id(row[0], row[7], row[1]), *row) for row in rows]


async def requeue(uow: UnitOfWork, ids: Sequence[str], endpoint: str | None, limit: int) -> list[str]:
    """Have dead deliveries tried again as if for the first time: these, or without any those of the endpoint, ``limit``
    at most; the ids of those that were dead. Raises ValueError when an id cannot be one."""
    parts = [parts_of(one) for one in ids]
    rows = await uow.sql.fetch(
        f"""WITH chosen AS (SELECT d.event_id, d.at, d.endpoint FROM deliveries d
            {
            '''JOIN unnest($1::text[], $2::timestamptz[], $3::text[]) AS u(event_id, at, endpoint)
                USING (event_id, at, endpoint) WHERE d.state = 'dead' '''
            if ids
            else "WHERE d.state = 'dead' AND d.endpoint = $1"
        }
            AND EXISTS (SELECT FROM events e WHERE e.id = d.event_id AND e.at = d.at)
            ORDER BY d.at, d.event_id, d.endpoint LIMIT {int(limit)} FOR UPDATE OF d)
        UPDATE deliveries d SET state = 'pending', tries = 0, due_at = clock_timestamp(), error = NULL,
            status_code = NULL
        FROM chosen c WHERE d.event_id = c.event_id AND d.at = c.at AND d.endpoint = c.endpoint
        RETURNING d.event_id, d.at, d.endpoint""",
        *([[one[index] for one in parts] for index in range(3)] if ids else [endpoint]),
    )
    uow.hints.feed = uow.hints.feed or bool(rows)
    return sorted(delivery_id(row[0], row[1], row[2]) for row in rows)
