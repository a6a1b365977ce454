"""The outbox and its deliveries: every event reaches every endpoint that wants it, at least once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.core.deliveries import Delivery, DeliveryOutcome, Event
from app.store.db import Database


class Subscriber(Protocol):
    """What fanning out needs to know of an endpoint."""

    @property
    def name(self) -> str: ...

    def wants(self, kind: str) -> bool: ...


class DeliveryRows:
    """Deliveries in Postgres, one transaction a call. A delivery's id is ``event_id:endpoint``."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def fan_out(self, endpoints: Sequence[Subscriber], limit: int) -> int:
        """Turn up to ``limit`` outbox rows into deliveries; returns the rows taken. Two callers share them out."""
        async with self.db.unit() as uow:
            rows = await uow.sql.fetch(
                """WITH taken AS (DELETE FROM outbox WHERE event_id IN
                    (SELECT event_id FROM outbox ORDER BY event_id LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING event_id)
                SELECT e.id, e.kind FROM events e JOIN taken ON taken.event_id = e.id""",
                limit,
            )
            wanted = [(row[0], end.name) for row in rows for end in endpoints if end.wants(row[1])]
            if wanted:
                await uow.sql.execute(
                    """INSERT INTO deliveries (event_id, endpoint) SELECT * FROM unnest($1::text[], $2::text[])
                    ON CONFLICT DO NOTHING""",
                    [event_id for event_id, _ in wanted],
                    [endpoint for _, endpoint in wanted],
                )
        return len(rows)

    async def claim(self, limit: int, lease_s: float, endpoints: Sequence[str]) -> list[Delivery]:
        """Up to ``limit`` due deliveries of these endpoints, oldest due first, leased for ``lease_s`` seconds."""
        async with self.db.unit() as uow:
            rows = await uow.sql.fetch(
                """WITH due AS (SELECT event_id, endpoint FROM deliveries
                    WHERE state = 'pending' AND due_at <= clock_timestamp() AND endpoint = ANY($3::text[])
                    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED),
                claimed AS (UPDATE deliveries d SET tries = tries + 1,
                    due_at = clock_timestamp() + make_interval(secs => $2)
                    FROM due WHERE d.event_id = due.event_id AND d.endpoint = due.endpoint
                    RETURNING d.event_id, d.endpoint, d.tries)
                SELECT c.event_id, c.endpoint, c.tries, e.kind, e.at, e.data, e.seq
                FROM claimed c JOIN events e ON e.id = c.event_id ORDER BY e.seq""",
                limit,
                float(lease_s),
                list(endpoints),
            )
        return [Delivery(f"{row[0]}:{row[1]}", Event(row[0], row[3], row[4], row[5]), row[1], row[2]) for row in rows]

    async def settle(self, outcomes: Sequence[DeliveryOutcome]) -> None:
        """Record what became of claimed deliveries; those delivered before stay delivered."""
        if not outcomes:
            return
        ids = [outcome.id.split(":", 1) for outcome in outcomes]
        async with self.db.unit() as uow:
            await uow.sql.execute(
                """UPDATE deliveries d SET state = u.state, status_code = u.status_code, error = u.error,
                    due_at = CASE WHEN u.next_in_s IS NULL THEN d.due_at
                        ELSE clock_timestamp() + make_interval(secs => u.next_in_s) END,
                    delivered_at = CASE WHEN u.state = 'delivered' THEN clock_timestamp() END
                FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[], $6::float8[])
                    AS u(event_id, endpoint, state, status_code, error, next_in_s)
                WHERE d.event_id = u.event_id AND d.endpoint = u.endpoint AND d.state = 'pending'""",
                [event_id for event_id, _ in ids],
                [endpoint for _, endpoint in ids],
                [outcome.state.value for outcome in outcomes],
                [outcome.status_code for outcome in outcomes],
                [outcome.error for outcome in outcomes],
                [outcome.next_in_s for outcome in outcomes],
            )

    async def counts(self) -> dict[str, int]:
        """Deliveries by state."""
        async with self.db.unit() as uow:
            rows = await uow.sql.fetch("SELECT state, count(*) FROM deliveries GROUP BY state")
        return {row[0]: row[1] for row in rows}
