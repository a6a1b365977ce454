"""Use cases of recurring jobs: keep schedules, and make their jobs when they are due."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from app.core.access import ALL, Principal, Scope
from app.core.errors import HaeError, IdempotencyClash, NotFound, QuotaExceeded
from app.core.ids import new_id
from app.core.states import JOB_FINAL
from app.services import jobs
from app.services.cron import Cron
from app.services.quotas import Quotas
from app.services.submissions import Submission
from app.store import idempotency, keys, schedules
from app.store import jobs as job_rows
from app.store.db import Database, UnitOfWork
from app.store.keys import KeyRow
from app.store.schedules import ScheduleRow

log = logging.getLogger(__name__)

Prepare = Callable[[Principal, dict[str, Any]], Submission]
"""From who asks and a stored request to the submission that it comes to. Raises HaeError on one that is not valid."""

MOST = 1_000
"""Schedules of one account."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a schedule is to be. ``overlap``: ``skip`` makes no job while the schedule's last one is not over.

    ``request``: the job, already found to be valid.
    """

    name: str
    cron: str
    timezone: str
    overlap: str
    request: dict[str, Any]
    paused: bool = False

    def digest(self) -> str:
        """sha256 of what is asked for: equal plans have equal digests."""
        asked = ["schedule", *(getattr(self, name) for name in self.__slots__)]
        return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()


async def create(db: Database, principal: Principal, plan: Plan, idempotency_key: str = "") -> tuple[ScheduleRow, bool]:
    """Keep a schedule, and whether it is new: False when the idempotency key had made it before.

    Raises InvalidInput on a bad expression or zone, IdempotencyClash, QuotaExceeded.
    """
    cron = Cron(plan.cron, plan.timezone)
    schedule_id = new_id("sched")
    async with db.unit() as uow:
        if idempotency_key:
            key = (principal.account, idempotency_key)
            taken = await idempotency.claim(uow, [(*key, plan.digest(), schedule_id)])
            if key in taken:
                return await _made_before(uow, principal, plan, *taken[key]), False
        if await schedules.count(uow, principal.account) >= MOST:
            raise QuotaExceeded(f"an account may have {MOST} schedules", next_action="Delete those of no more use.")
        row = ScheduleRow(
            schedule_id, principal.account, principal.key_id, plan.name, plan.cron, plan.timezone, plan.overlap,
            plan.request, plan.paused, None if plan.paused else cron.after(uow.now), uow.now,
        )  # fmt: skip
        await schedules.insert(uow, row)
    return row, True


async def _made_before(uow: UnitOfWork, principal: Principal, plan: Plan, digest: str, made: str) -> ScheduleRow:
    if digest != plan.digest():
        raise IdempotencyClash.of(made)
    return await _known(uow, principal, made)


async def get(db: Database, principal: Principal, schedule_id: str) -> ScheduleRow:
    """A schedule that the caller may see. Raises NotFound."""
    async with db.unit() as uow:
        return await _known(uow, principal, schedule_id)


async def listing(db: Database, principal: Principal, before: str, limit: int) -> list[ScheduleRow]:
    """Schedules that the caller may see, newest first, with ids below ``before``."""
    async with db.unit() as uow:
        return await schedules.page(uow, principal.sees, before, limit)


async def change(db: Database, principal: Principal, schedule_id: str, changes: Mapping[str, Any]) -> ScheduleRow:
    """Change fields of Plan; the others stay. Resumed, it goes on from now: nothing is made up for.

    Raises NotFound, InvalidInput.
    """
    async with db.unit() as uow:
        row = await _known(uow, principal, schedule_id, lock=True)
        retimed = any(name in changes for name in ("cron", "timezone", "paused"))
        row = replace(row, **changes, error=None)
        cron = Cron(row.cron, row.timezone)
        if row.paused:
            row.next_at = None
        elif retimed or row.next_at is None:
            # No time twice, even where the database's clock was set back.
            row.next_at = cron.after(max(uow.now, row.last_at or uow.now))
        await schedules.change(uow, row)
    return row


async def delete(db: Database, principal: Principal, schedule_id: str) -> None:
    """End a schedule; the jobs that it made go on. Raises NotFound."""
    async with db.unit() as uow:
        if not await schedules.delete(uow, schedule_id, principal.sees):
            raise _no_such_schedule(schedule_id)


async def fire_due(db: Database, prepare: Prepare, quotas: Quotas, limit: int = 64) -> int:
    """Make the jobs of up to ``limit`` schedules that are due; how many were looked at.

    A job and the schedule's next time are written in one transaction, by the database's clock: whoever dies, or comes
    at the same time, there is one job a time. Of times that were missed, the latest alone gets its job. A schedule
    whose job cannot be made keeps the error, and goes on with its next time.
    """
    async with db.unit() as uow:
        due = await schedules.lock_due(uow, limit)
        if not due:
            return 0
        times = {row.id: time for row in due if (time := _move_on(row, uow.now)) is not None}
        known = {key.id: key for key in await keys.by_ids(uow, sorted({row.key_id for row in due}))}
        ready = await _ready(uow, [row for row in due if row.id in times], known)
        wishes = [(row, wish) for row in ready if (wish := _wish(row, known.get(row.key_id), prepare)) is not None]
        verdicts = await quotas.admit(uow, [row.key_id for row, _ in wishes])
        admitted = []
        for (row, wish), refusal in zip(wishes, verdicts, strict=True):
            if refusal is None:
                admitted.append((row, wish))
            else:
                row.error = refusal.detail
        for row, job_id in await _taken_in(uow, admitted):
            row.runs += 1
            row.last_at, row.last_job_id = times[row.id], job_id
        await schedules.save_fired(uow, due)
    return len(due)


def _move_on(row: ScheduleRow, now: datetime) -> datetime | None:
    """Set the schedule's next time; the one that it is due for, None where neither can be told any more."""
    assert row.next_at is not None
    first = row.next_at
    row.next_at, row.error = None, None
    try:
        cron = Cron(row.cron, row.timezone)
        row.next_at = cron.after(now)
        return cron.latest(first, now)
    except HaeError as error:
        # A zone that is no longer known here.
        row.error = error.detail
        return None


async def _ready(uow: UnitOfWork, due: Sequence[ScheduleRow], known: Mapping[str, KeyRow]) -> list[ScheduleRow]:
    """Those that may make a job now: their keys are alive, and no job of theirs is in the way."""
    last = [row.last_job_id for row in due if row.overlap == "skip" and row.last_job_id]
    states = await job_rows.states_of(uow, last) if last else {}
    busy = {job_id for job_id, (state, _) in states.items() if state not in JOB_FINAL}
    revoked = {key.id for key in known.values() if key.revoked_at is not None}
    ready = []
    for row in due:
        if row.key_id in revoked:
            row.error = "the API key that made the schedule is revoked"
        elif row.overlap == "skip" and row.last_job_id in busy:
            row.skipped += 1
        else:
            ready.append(row)
    return ready


def _wish(row: ScheduleRow, key: KeyRow | None, prepare: Prepare) -> Submission | None:
    """The submission that the schedule stands for; None, with the error kept, when it is not valid any more.

    ``key``: what its key may do now; one of the settings has no row, and may do anything.
    """
    try:
        rights = ALL if key is None else key.rights
        principal = Principal(row.key_id, row.account, frozenset({Scope.AGENT.value}), rights)
        return replace(prepare(principal, row.request), source="schedule", schedule_id=row.id)
    except HaeError as error:
        row.error = error.detail[:2000]
    except Exception:
        # Whatever it is, it is this schedule's: the others are to have their jobs.
        log.exception("schedule %s cannot be made a job of", row.id)
        row.error = "the request can no longer be read"
    return None


async def _taken_in(uow: UnitOfWork, admitted: list[tuple[ScheduleRow, Submission]]) -> list[tuple[ScheduleRow, str]]:
    """Make the jobs that their keys may pay for; one that the database refuses is found by halves, and is its
    schedule's error alone."""
    if not admitted:
        return []
    try:
        async with schedules.savepoint(uow):
            made = await jobs.take_in_paid(uow, [wish for _, wish in admitted])
        answered = [(row, one) for (row, _), one in zip(admitted, made, strict=True)]
        for row, one in answered:
            row.error = None if isinstance(one, str) else one.detail
        return [(row, one) for row, one in answered if isinstance(one, str)]
    except Exception as error:
        # Where the connection is lost, whatever comes next fails, too, and nothing has happened.
        if len(admitted) == 1:
            log.exception("the job of schedule %s is refused", admitted[0][0].id)
            admitted[0][0].error = f"the job could not be stored: {type(error).__name__}"
            return []
    middle = len(admitted) // 2
    return await _taken_in(uow, admitted[:middle]) + await _taken_in(uow, admitted[middle:])


async def _known(uow: UnitOfWork, principal: Principal, schedule_id: str, *, lock: bool = False) -> ScheduleRow:
    row = await schedules.get(uow, schedule_id, principal.sees, lock=lock)
    if row is None:
        raise _no_such_schedule(schedule_id)
    return row


def _no_such_schedule(schedule_id: str) -> NotFound:
    return NotFound(
        f"there is no schedule {schedule_id[:60]} that this key may see",
        code="schedule_not_found",
        field="schedule_id",
        next_action="List your schedules with list_schedules or GET /v1/schedules.",
    )
