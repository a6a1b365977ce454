"""Use cases of operators: jobs that the job graph failed on until their signals were parked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.core.errors import NotFound
from app.core.jobs import Job
from app.store import events, jobs, signals
from app.store.db import Database
from app.store.signals import ParkedJob, SignalRow

AT_ONCE = 1_000
"""Parked signals that are requeued in one call at most."""


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job, all signals that it has, and its transitions, oldest first."""

    job: Job
    signals: list[SignalRow]
    history: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Requeued:
    """``jobs``: ids of those whose signals are due again; ``untouched``: of those named, the ones that have none
    parked. ``more``: whether others wait for the next call."""

    jobs: list[str]
    untouched: list[str]
    more: bool


async def listing(db: Database, before: str, limit: int) -> list[ParkedJob]:
    """Jobs with parked signals, newest first, with ids below ``before`` (empty = from the top)."""
    async with db.unit() as uow:
        return await signals.parked(uow, before, limit)


async def inspect(db: Database, job_id: str) -> DeadJob:
    """What is known of a job that has parked signals. Raises NotFound, also for one that has none."""
    async with db.unit() as uow:
        waiting = await signals.of_job(uow, job_id)
        found = await jobs.get(uow, job_id, None)
        if found is None or not any(one.parked_at for one in waiting):
            raise NotFound(
                f"no signal of {job_id[:60]} is parked",
                code="dead_job_not_found",
                next_action="List the jobs that have some with GET /internal/jobs/dead.",
            )
        return DeadJob(found[0], waiting, await events.history(uow, job_id))


async def requeue(db: Database, job_ids: Sequence[str] | None) -> Requeued:
    """Have the parked signals of these jobs (None = of all) tried again, AT_ONCE at most; their errors go."""
    async with db.unit() as uow:
        errors = await signals.unpark(uow, job_ids, AT_ONCE)
        await jobs.forgive(uow, errors)
        more = bool(job_ids is None and errors and await signals.parked(uow, "", 1))
    untouched = [job_id for job_id in dict.fromkeys(job_ids or ()) if job_id not in errors]
    return Requeued(sorted(errors), untouched, more)
