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
    """A node's report on an accepted offer. ``digest``: sha256 of its canonical form, to know a repeat."""

    offer_id: str
    node_id: str
    ok: bool
    digest: str
    body: Any = None
    logs: list[Any] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A report that was recorded."""

    offer_id: str
    job_id: str
    node_id: str
    ok: bool
    digest: str


async def insert(uow: UnitOfWork, reports: Sequence[NewReport]) -> list[Taken]:
    """Record reports on offers that are accepted and still hold their slots; those taken.

    Left out: offers not accepted by that node, attempts that are over, and second reports.
    """
    # FOR SHARE waits for a wave that is taking the job away, then sees that the offer is over.
    # Inserted in order, too: batches that repeat each other's reports would wait for each other's keys.
    rows = await uow.sql.fetch(
        """WITH new AS (SELECT * FROM json_to_recordset($1::json) AS r(offer_id text, node_id text, ok bool, body jsonb,
                logs jsonb, metrics jsonb, error text, digest text)),
        held AS (SELECT o.id, o.job_id, o.node_id, o.attempt FROM offers o JOIN new ON new.offer_id = o.id
            AND new.node_id = o.node_id WHERE o.state = 'accepted' AND o.holds_slots ORDER BY o.id FOR SHARE OF o)
        INSERT INTO results (offer_id, job_id, node_id, attempt, ok, body, logs, metrics, error, digest)
        SELECT new.offer_id, held.job_id, new.node_id, held.attempt, ok, body, logs, metrics, error, digest
        FROM new JOIN held ON held.id = new.offer_id AND held.node_id = new.node_id ORDER BY new.offer_id
        ON CONFLICT DO NOTHING RETURNING offer_id, job_id, node_id, ok, digest""",
        to_json(reports),
    )
    return [Taken(*row) for row in rows]


async def reports(uow: UnitOfWork, offer_ids: Sequence[str]) -> dict[str, Report]:
    """Reports by offer, without their bodies: what the graph decides on."""
    rows = await uow.sql.fetch(
        "SELECT offer_id, ok, error, created_at FROM results WHERE offer_id = ANY($1::text[])", offer_ids
    )
    return {row[0]: Report(*row) for row in rows}


async def digest_of(uow: UnitOfWork, offer_id: str) -> str | None:
    digest: str | None = await uow.sql.fetchval("SELECT digest FROM results WHERE offer_id = $1", offer_id)
    return digest


async def full(uow: UnitOfWork, offer_id: str) -> dict[str, Any] | None:
    """The whole report: ``{ok, result, logs, metrics, error}``."""
    row = await uow.sql.fetchrow("SELECT ok, body, logs, metrics, error FROM results WHERE offer_id = $1", offer_id)
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
