"""Tools about schedules: create_schedule, list_schedules, change_schedule, delete_schedule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from app.core.access import Principal
from app.core.errors import HaeError, InvalidInput
from app.services import schedules
from app.services.cron import Cron
from app.services.schedules import Plan, Prepare
from app.services.submissions import Submission
from app.store.schedules import ScheduleRow
from tools.answers import stamp
from tools.context import Defaults, ToolContext
from tools.jobs import submission_of
from tools.schedule_schemas import (
    ChangeSchedule,
    CreateSchedule,
    DeleteSchedule,
    ListSchedules,
    ScheduleAnswer,
    ScheduleDeleted,
    SchedulePage,
)
from tools.schemas import JobSpec
from tools.specs import spec_of

SHOWN_RUNS = 5


def preparer(defaults: Defaults) -> Prepare:
    """Reads stored requests as they would be read if they were sent now, by these defaults."""

    def prepare(principal: Principal, request: dict[str, Any]) -> Submission:
        try:
            asked = msgspec.convert(request, JobSpec)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"the job is no longer valid: {error}") from error
        return submission_of(defaults, principal, asked)

    return prepare


async def create(context: ToolContext, principal: Principal, asked: CreateSchedule) -> tuple[ScheduleAnswer, bool]:
    """Keep a schedule, and whether it is new. Raises InvalidInput, IdempotencyClash, QuotaExceeded."""
    plan = Plan(
        name=asked.name,
        cron=asked.cron,
        timezone=asked.timezone,
        overlap=asked.overlap,
        request=_request(context, principal, asked.job),
        paused=asked.paused,
    )
    row, created = await schedules.create(context.db, principal, plan, asked.idempotency_key)
    return schedule_answer(row), created


async def create_schedule(context: ToolContext, principal: Principal, asked: CreateSchedule) -> ScheduleAnswer:
    """As create, without the word on whether it is new."""
    return (await create(context, principal, asked))[0]


async def list_schedules(context: ToolContext, principal: Principal, asked: ListSchedules) -> SchedulePage:
    """The caller's schedules, newest first."""
    rows = await schedules.listing(context.db, principal, asked.cursor, asked.limit)
    more = rows[-1].id if len(rows) == asked.limit else ""
    return SchedulePage(schedules=[schedule_answer(row) for row in rows], next_cursor=more)


async def change_schedule(context: ToolContext, principal: Principal, asked: ChangeSchedule) -> ScheduleAnswer:
    """Change, pause or resume a schedule. Raises NotFound, InvalidInput."""
    changes = {
        name: value
        for name in ("name", "cron", "timezone", "overlap", "paused")
        if (value := getattr(asked, name)) is not UNSET
    }
    if asked.job is not UNSET:
        changes["request"] = _request(context, principal, asked.job)
    return schedule_answer(await schedules.change(context.db, principal, asked.schedule_id, changes))


async def delete_schedule(context: ToolContext, principal: Principal, asked: DeleteSchedule) -> ScheduleDeleted:
    """End a schedule. Raises NotFound."""
    await schedules.delete(context.db, principal, asked.schedule_id)
    return ScheduleDeleted(schedule_id=asked.schedule_id)


def _request(defaults: Defaults, principal: Principal, job: JobSpec) -> dict[str, Any]:
    # Checked now, so that a wrong one is refused while there is somebody to tell.
    submission_of(defaults, principal, job)
    plain: dict[str, Any] = msgspec.to_builtins(spec_of(job))
    return plain


def schedule_answer(row: ScheduleRow) -> ScheduleAnswer:
    """The schedule as agents see it."""
    return ScheduleAnswer(
        schedule_id=row.id,
        name=row.name,
        cron=row.cron,
        timezone=row.timezone,
        overlap=row.overlap,
        paused=row.paused,
        job=row.request,
        runs=row.runs,
        skipped=row.skipped,
        error=row.error or "",
        next_at=stamp(row.next_at),
        next_runs=[stamp(at) for at in _next_runs(row)],
        last_at=stamp(row.last_at),
        last_job_id=row.last_job_id or "",
        created_at=stamp(row.created_at),
    )


def _next_runs(row: ScheduleRow) -> list[datetime]:
    if row.next_at is None:
        return []
    try:
        rest = Cron(row.cron, row.timezone).upcoming(row.next_at, SHOWN_RUNS - 1)
    except HaeError:
        # Of a zone that is no longer known here.
        rest = []
    return [at.astimezone(UTC) for at in (row.next_at, *rest)]
