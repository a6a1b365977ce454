"""Deliveries: every event of the feed reaches every endpoint that wants it, at least once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from app.core.deliveries import Delivery, DeliveryOutcome, Event
from app.store import feed
from app.store.db import Database, UnitOfWork

CONSUMER: Final = "webhooks"
"""The feed's consumer whose position says which events have their deliveries."""

UNCLAIMED_S: Final = 900.0
"""Due for so long and taken by no worker: none of them knows the endpoint."""

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

    async def fan_out(self, endpoints: Sequence[Subscriber], limit: int) -> int:
        """Make the deliveries of up to ``limit`` further events of the feed; how many events, 0 also while another
        process is at it."""
        async with self.db.unit() as uow:
            after = await uow.sql.fetchval(
                "SELECT position FROM consumers WHERE name = $1 FOR UPDATE SKIP LOCKED", CONSUMER
            )
            if after is None:
                return 0
            if not endpoints:
                await feed.move_cursor(uow, CONSUMER, await feed.end(uow))
                return 0
            page = await feed.read(uow, after, limit)
            if page.read_to == after:
                return 0
            wanted = [(event, end.name) for event in page.events for end in endpoints if end.wants(event.kind)]
            if wanted:
                await uow.sql.execute(
                    """INSERT INTO deliveries (event_id, at, endpoint)
                    SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[]) ON CONFLICT DO NOTHING""",
                    [event.id for event, _ in wanted],
                    [event.at for event, _ in wanted],
                    [endpoint for _, endpoint in wanted],
                )
            await feed.move_cursor(uow, CONSUMER, page.read_to)
        return len(page.events)

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
        return [
            Delivery(delivery_id(row[0], row[4], row[1]), Event(row[0], row[3], row[4], row[5]), row[1], row[2])
            for row in rows
        ]

    async def settle(self, outcomes: Sequence[DeliveryOutcome]) -> None:
        """Record what became of claimed deliveries; those delivered before stay delivered."""
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

    async def retire(self, endpoints: Sequence[str]) -> int:
        """Give up the deliveries of endpoints that are not among these, once they have been due for UNCLAIMED_S; how
        many.

        By then no worker knows the endpoint: not even one with newer settings, while they are being replaced.
        """
        async with self.db.unit() as uow:
            done = await uow.sql.execute(
                """UPDATE deliveries SET state = 'dead', error = 'the endpoint is no longer in the settings'
                WHERE state = 'pending' AND endpoint <> ALL($1::text[])
                    AND due_at < clock_timestamp() - make_interval(secs => $2)""",
                list(endpoints),
                UNCLAIMED_S,
            )
        return int(done.split()[-1])

    async def counts(self) -> dict[str, int]:
        """Deliveries by state."""
        async with self.db.unit() as uow:
            rows = await uow.sql.fetch("SELECT state, count(*) FROM deliveries GROUP BY state")
        return {row[0]: row[1] for row in rows}


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
