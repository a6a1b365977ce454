"""A check of a whole database, from the database alone: histories and their hash chains, states, offers, results,
slots, counts, payments and the feed, all of one snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from app.services.verify_jobs import findings
from app.store import verify as store
from app.store import verify_money
from app.store.db import Database, UnitOfWork

LISTED = 1_000
"""Violations that are told one by one; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Violation:
    """``check``: what does not hold, a stable name. ``id``: of the job, node, event or count that it is about."""

    check: str
    id: str
    detail: str


@dataclass(slots=True)
class Report:
    """What was found. ``rows``: looked at one by one for the jobs. ``found``: violations, those not listed included.

    ``whole``: whether the ledgers, which are of all jobs together, were looked at, too. ``cut``: jobs whose history may
    have lost its beginning to retention.
    """

    jobs: int = 0
    rows: int = 0
    violations: list[Violation] = field(default_factory=list)
    found: int = 0
    cut: int = 0
    whole: bool = True
    seconds: float = 0.0

    def add(self, check: str, found: Iterable[tuple[str, str]]) -> None:
        """Take over ``(id, detail)`` of what one check found."""
        for id_, detail in found:
            self.found += 1
            if len(self.violations) < LISTED:
                self.violations.append(Violation(check, id_, detail))


async def verify(
    db: Database,
    *,
    account: str | None = None,
    since: datetime | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Report:
    """Check everything, or only the jobs of ``account`` or those submitted ``since``, without the ledgers.

    Memory does not grow with the database. Others may go on writing: all is read from one snapshot, which keeps the
    server from vacuuming what is newer for as long as it takes. ``told`` hears now and then how many jobs were looked
    at, and of about how many. Raises Unavailable when PostgreSQL is away.
    """
    began = time.monotonic()
    report = Report(whole=account is None and since is None)
    reader = db.reader()
    try:
        async with reader.unit() as uow:
            await _jobs(uow, report, account, since, told)
            if report.whole:
                await _ledgers(uow, report)
                report.add("node_capacity", await store.capacities(uow))
    finally:
        await reader.close()
    report.seconds = round(time.monotonic() - began, 3)
    return report


async def _jobs(
    uow: UnitOfWork,
    report: Report,
    account: str | None,
    since: datetime | None,
    told: Callable[[int, int], None] | None,
) -> None:
    history_since = await store.kept_since(uow, "job_history")
    events_since = await store.kept_since(uow, "events")
    about = await store.expected(uow)
    hashed = _Hashed()
    async for batch in store.jobs(uow, account, since):
        for rows in batch:
            for check, detail in findings(rows, history_since, events_since):
                report.add(check, [(rows.job.id, detail)])
            hashed.note(rows)
            report.rows += rows.rows
            report.cut += history_since is not None and rows.job.created_at < history_since
        report.jobs += len(batch)
        if told is not None:
            told(report.jobs, max(about, report.jobs))
    report.add("history_unhashed", hashed.findings())


async def _ledgers(uow: UnitOfWork, report: Report) -> None:
    report.add("stray_rows", await store.strays(uow))
    report.add("node_slots", await store.slots(uow))
    report.add("job_counts", await store.counts(uow))
    report.add("plan_money", await verify_money.plans(uow))
    report.add("plan_results", await verify_money.winners(uow))
    report.add("key_spending", await verify_money.days(uow))
    for check, found in (await store.feed(uow)).items():
        report.add(check, found)


class _Hashed:
    """Since there are hashes, every row has one: none without is newer than the first that has one."""

    def __init__(self) -> None:
        self._first: datetime | None = None
        self._last: tuple[datetime, str] | None = None

    def note(self, rows: store.JobRows) -> None:
        for row in rows.history:
            if row.hash is not None:
                self._first = row.at if self._first is None else min(self._first, row.at)
            elif self._last is None or row.at > self._last[0]:
                self._last = (row.at, rows.job.id)

    def findings(self) -> list[tuple[str, str]]:
        if self._first is None or self._last is None or self._last[0] <= self._first:
            return []
        at, job_id = self._last
        return [(job_id, f"a row of {at.isoformat()} has no hash, and others have since {self._first.isoformat()}")]
