"""What the database kept of a run: the rows that the checker holds against the clients' record, in one snapshot."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from app.chaos.history import History


@dataclass(frozen=True, slots=True)
class JobKept:
    """A job. ``derived``: the engine made it itself: from the chain, from a schedule, or as another run of a job.

    ``backoff_s``: the longest that it may wait after a lost run.
    """

    id: str
    derived: bool
    state: str
    attempt: int
    cancel_requested: bool
    created_at: datetime
    finished_at: datetime | None
    queue_ttl_s: int
    backoff_s: int
    timeout_s: int
    start_at: datetime | None = None
    deadline_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MoveKept:
    """A row of a job's history."""

    job_id: str
    source: str | None
    target: str
    attempt: int
    reason: str
    node_id: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class OfferKept:
    """An offer."""

    id: str
    job_id: str
    node_id: str
    attempt: int
    state: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ReportKept:
    """What a node reported. ``late``: kept, but of no effect."""

    offer_id: str
    job_id: str
    node_id: str
    attempt: int
    ok: bool
    late: bool


@dataclass(frozen=True, slots=True)
class EventKept:
    """An event. ``job_id``, ``account``: None where it tells of none."""

    id: str
    kind: str
    job_id: str | None
    account: str | None


@dataclass(frozen=True, slots=True)
class DeliveryKept:
    """One event for one endpoint. ``waiting``: tried, and due again later by the schedule of retries."""

    state: str
    waiting: bool


@dataclass(frozen=True, slots=True)
class SignalKept:
    """A signal that is still there."""

    id: int
    job_id: str
    kind: str
    parked: bool


@dataclass(frozen=True, slots=True)
class PlanKept:
    """A plan. ``cost``: of its jobs, base units; ``live``: those that are not over; ``unfinished``: units without an
    outcome that lets the plan complete."""

    id: str
    key: str
    state: str
    over: bool
    cancel_requested: bool
    budget: int
    cost: int
    live: int
    unfinished: int


@dataclass(slots=True)
class Kept:
    """``now``: the database's clock when it was read, ``read_at`` the record's. ``history``: by job, in order.
    ``keys``: idempotency key and job.

    ``feed``: ``(position, event id)``, ascending. ``deliveries``: by event and endpoint.
    """

    now: datetime
    read_at: float
    jobs: dict[str, JobKept] = field(default_factory=dict)
    history: dict[str, list[MoveKept]] = field(default_factory=dict)
    offers: dict[str, OfferKept] = field(default_factory=dict)
    reports: dict[str, ReportKept] = field(default_factory=dict)
    keys: list[tuple[str, str]] = field(default_factory=list)
    events: dict[str, EventKept] = field(default_factory=dict)
    feed: list[tuple[int, str]] = field(default_factory=list)
    deliveries: dict[tuple[str, str], DeliveryKept] = field(default_factory=dict)
    signals: list[SignalKept] = field(default_factory=list)
    plans: dict[str, PlanKept] = field(default_factory=dict)

    def when(self, moment: float) -> datetime:
        """The database's time of a moment of the record."""
        return self.now + timedelta(seconds=moment - self.read_at)


async def read(database_url: str) -> Kept:
    """All of it, in one read-only snapshot."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await _read(connection)
    finally:
        await connection.close()


async def _read(sql: asyncpg.Connection[Any]) -> Kept:
    # Before the first statement, which takes the snapshot: what was acknowledged by now is in it.
    read_at = History.now()
    kept = Kept(await sql.fetchval("SELECT clock_timestamp()"), read_at)
    for row in await sql.fetch(
        """SELECT id, coalesce(chain_job, rerun_of, schedule_id, plan_id) IS NOT NULL, state, attempt, cancel_requested,
            created_at, finished_at, queue_ttl_s, greatest(retry_backoff_s, retry_backoff_max_s),
            timeout_s, start_at, deadline_at
        FROM jobs"""
    ):
        kept.jobs[row[0]] = JobKept(*row)
    history: dict[str, list[MoveKept]] = defaultdict(list)
    for row in await sql.fetch(
        "SELECT job_id, from_state, to_state, attempt, reason, node_id, at FROM job_history ORDER BY job_id, seq"
    ):
        history[row[0]].append(MoveKept(*row))
    kept.history = dict(history)
    for row in await sql.fetch("SELECT id, job_id, node_id, attempt, state, created_at, expires_at FROM offers"):
        kept.offers[row[0]] = OfferKept(*row)
    for row in await sql.fetch("SELECT offer_id, job_id, node_id, attempt, ok, late FROM results"):
        kept.reports[row[0]] = ReportKept(*row)
    kept.keys = [(row[0], row[1]) for row in await sql.fetch("SELECT key, job_id FROM idempotency_keys")]
    for row in await sql.fetch("SELECT id, kind, job_id, account FROM events ORDER BY seq"):
        kept.events[row[0]] = EventKept(*row)
    kept.feed = [(row[0], row[1]) for row in await sql.fetch("SELECT position, event_id FROM feed ORDER BY position")]
    for row in await sql.fetch(
        """SELECT event_id, endpoint, state, state = 'pending' AND tries > 0 AND due_at > clock_timestamp()
        FROM deliveries"""
    ):
        kept.deliveries[row[0], row[1]] = DeliveryKept(row[2], row[3])
    kept.signals = [
        SignalKept(*row)
        for row in await sql.fetch("SELECT id, job_id, kind, parked_at IS NOT NULL FROM signals ORDER BY id")
    ]
    for row in await sql.fetch(
        """SELECT p.id, coalesce((SELECT k.key FROM idempotency_keys k WHERE k.job_id = p.id), ''), p.state,
            p.finished_at IS NOT NULL, p.cancel_requested, p.budget,
            (SELECT coalesce(sum(j.cost), 0)::int8 FROM jobs j WHERE j.plan_id = p.id),
            (SELECT count(*) FROM jobs j WHERE j.plan_id = p.id AND j.finished_at IS NULL),
            (SELECT count(*) FROM plan_units u WHERE u.plan_id = p.id AND u.state NOT IN ('done', 'skipped'))
        FROM plans p"""
    ):
        kept.plans[row[0]] = PlanKept(*row)
    return kept
