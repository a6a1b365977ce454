"""The results table: what nodes report, first report wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core.jobs import Report
from app.store.db import UnitOfWork
from app.store.rows import to_json


@dataclass(slots=True)
class NewReport:
    """A node's report on an accepted offer. ``digest``: sha256 of its canonical form, to know a repeat.

    ``lease_token``: the fencing token that its node knows, 0 = none.
    """

    offer_id: str
    node_id: str
    ok: bool
    digest: str
    body: Any = None
    logs: list[Any] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    lease_token: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """A report that was recorded. ``late``: when its attempt was over, so that it counts for nothing."""

    offer_id: str
    job_id: str
    node_id: str
    ok: bool
    digest: str
    late: bool


async def insert(uow: UnitOfWork, reports: Sequence[NewReport], *, keep_late: bool = True) -> list[Taken]:
    """Record reports on offers that were accepted; those recorded, with ``late`` where the offer holds no slots any
    more. Those are left out without ``keep_late``.

    Left out: offers not accepted by that node, second reports, and other fencing tokens than the offer's.
    """
    # FOR SHARE waits for a wave that is taking the job away, then sees that the offer is over.
    # Inserted in order, too: batches that repeat each other's reports would wait for each other's keys.
    rows = await uow.sql.fetch(
        """WITH new AS (SELECT * FROM json_to_recordset($1::json) AS r(offer_id text, node_id text, ok bool, body jsonb,
                logs jsonb, metrics jsonb, error text, digest text, lease_token int8)),
        held AS (SELECT o.id, o.job_id, o.node_id, o.attempt, o.token, NOT o.holds_slots AS late FROM offers o
            JOIN new ON new.offer_id = o.id AND new.node_id = o.node_id
            WHERE o.state = 'accepted' AND (o.holds_slots OR $2) ORDER BY o.id FOR SHARE OF o)
        INSERT INTO results (offer_id, job_id, node_id, attempt, ok, body, logs, metrics, error, digest, late)
        SELECT new.offer_id, held.job_id, new.node_id, held.attempt, ok, body, logs, metrics, error, digest, held.late
        FROM new JOIN held ON held.id = new.offer_id AND held.node_id = new.node_id AND lease_token IN (0, held.token)
        ORDER BY new.offer_id
        ON CONFLICT DO NOTHING RETURNING offer_id, job_id, node_id, ok, digest, late""",
        to_json(reports),
        keep_late,
    )
    return [Taken(*row) for row in rows]


async def reports(uow: UnitOfWork, offer_ids: Sequence[str]) -> dict[str, Report]:
    """Reports by offer, without their bodies and the late ones: what the graph decides on."""
    rows = await uow.sql.fetch(
        "SELECT offer_id, ok, error, created_at FROM results WHERE offer_id = ANY($1::text[]) AND NOT late", offer_ids
    )
    return {row[0]: Report(*row) for row in rows}


async def kept(uow: UnitOfWork, offer_id: str) -> tuple[str, bool] | None:
    """Digest of the report on an offer, and whether it came too late; None without one."""
    row = await uow.sql.fetchrow("SELECT digest, late FROM results WHERE offer_id = $1", offer_id)
    return None if row is None else (row[0], row[1])


async def full(uow: UnitOfWork, offer_id: str) -> dict[str, Any] | None:
    """The whole report, unless it came too late: ``{ok, result, logs, metrics, error}``."""
    row = await uow.sql.fetchrow(
        "SELECT ok, body, logs, metrics, error FROM results WHERE offer_id = $1 AND NOT late", offer_id
    )
    if row is None:
        return None
    ok, body, logs, metrics, error = row
    return {
        "ok": ok,
        "result": body,
        "logs": logs,
        "metrics": metrics,
        "error": error,
    }
