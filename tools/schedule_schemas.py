"""What the tools about schedules take and give; see tools/schemas.py."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tools.schemas import IdempotencyKey, Input, JobSpec

ScheduleId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=40,
        pattern=r"^[A-Za-z0-9_\-]+$",
        description="The schedule_id that create_schedule returned",
        examples=["sched_01jd3k5m7p9r1t3v5x7z9b1d3f"],
    ),
]
Name = Annotated[str, Meta(max_length=80, description="What it is for, to tell schedules apart")]
CronText = Annotated[
    str,
    Meta(
        min_length=9,
        max_length=120,
        description="When: minute, hour, day of month, month, day of week, such as '*/15 8-18 * * mon-fri'",
    ),
]
ZoneName = Annotated[
    str, Meta(min_length=1, max_length=64, description="Time zone of the IANA database, such as Europe/Berlin")
]
Overlap = Annotated[
    Literal["allow", "skip"],
    Meta(description="skip: no new job while the schedule's last one is not over; allow: one every time"),
]
Paused = Annotated[bool, Meta(description="Whether it makes no jobs for now")]


class CreateSchedule(Input, kw_only=True):
    """A job to submit again and again."""

    job: Annotated[JobSpec, Meta(description="The job, as for submit_job")]
    cron: CronText
    timezone: ZoneName = "UTC"
    overlap: Overlap = "allow"
    name: Name = ""
    paused: Paused = False
    idempotency_key: IdempotencyKey = ""


class ScheduleChanges(Input, kw_only=True):
    """What is to change; what is left out stays."""

    job: JobSpec | UnsetType = UNSET
    cron: CronText | UnsetType = UNSET
    timezone: ZoneName | UnsetType = UNSET
    overlap: Overlap | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    paused: Paused | UnsetType = UNSET


class ChangeSchedule(ScheduleChanges, kw_only=True):
    """A schedule to change, pause or resume."""

    schedule_id: ScheduleId


class ListSchedules(Input, kw_only=True):
    """A page of schedules, newest first."""

    cursor: Annotated[
        str, Meta(max_length=40, pattern=r"^(sched_[0-9a-z]{26})?$", description="next_cursor of the last page")
    ] = ""
    limit: Annotated[int, Meta(ge=1, le=200, description="How many at most")] = 50


class DeleteSchedule(Input, kw_only=True):
    schedule_id: ScheduleId


class ScheduleAnswer(msgspec.Struct, kw_only=True):
    """A schedule. Times are UTC, RFC 3339; empty strings stand for what is not there.

    ``job``: as it was given, without what is at its default. ``next_at``: when it is due, empty while paused;
    ``next_runs``: that and the four times after it. ``runs``: jobs it has made, the last of them ``last_job_id`` for
    the time ``last_at``; ``skipped``: times without a job because the last one was not over. ``error``: why the last
    time made no job.
    """

    schedule_id: str
    name: str
    cron: str
    timezone: str
    overlap: str
    paused: bool
    job: dict[str, Any]
    runs: int
    skipped: int
    error: str
    next_at: str
    next_runs: list[str]
    last_at: str
    last_job_id: str
    created_at: str


class SchedulePage(msgspec.Struct, kw_only=True):
    """``next_cursor``: pass it as ``cursor`` for older schedules; empty at the end."""

    schedules: list[ScheduleAnswer]
    next_cursor: str


class ScheduleDeleted(msgspec.Struct, kw_only=True):
    """The jobs that it made go on."""

    schedule_id: str
    deleted: bool = True
