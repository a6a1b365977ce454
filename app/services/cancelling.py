"""Use case of agents: ask for the end of many jobs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.core.access import Principal
from app.core.errors import InvalidInput
from app.core.events import SignalKind
from app.store import jobs, signals
from app.store.db import Database

MOST = 1_000
"""Jobs of one call at most."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs that are not over: those that meet every condition that is not empty."""

    states: Sequence[str] = ()
    types: Sequence[str] = ()
    submitted_before: datetime | None = None
    schedule_id: str = ""

    @property
    def empty(self) -> bool:
        return not (self.states or self.types or self.schedule_id or self.submitted_before)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """``asked``: ids of the jobs whose end was asked for by this call. ``unchanged``: of those named, the ones that
    are over or were asked before; ``unknown``: the ones that are not there. ``more``: whether others wait for the
    next call."""

    asked: list[str]
    unchanged: list[str]
    unknown: list[str]
    more: bool = False


async def cancel_named(db: Database, principal: Principal, job_ids: Sequence[str]) -> Cancelled:
    """Ask for the end of these jobs, MOST at once; the job graph ends them. Raises InvalidInput on too many."""
    named = list(dict.fromkeys(job_ids))
    if len(named) > MOST:
        raise InvalidInput(f"{MOST} jobs can be named at once", field="job_ids")
    async with db.unit() as uow:
        asked = await jobs.request_cancels(uow, named, principal.sees)
        await signals.add(uow, [(job_id, SignalKind.CANCEL_REQUESTED, None) for job_id in asked])
        there = await jobs.visible(uow, named, principal.sees)
    won = set(asked)
    return Cancelled(
        asked=asked,
        unchanged=[job_id for job_id in named if job_id in there and job_id not in won],
        unknown=[job_id for job_id in named if job_id not in there],
    )


async def cancel_matching(db: Database, principal: Principal, wanted: Wanted, limit: int = MOST) -> Cancelled:
    """Ask for the end of up to ``limit`` jobs as wanted, the oldest first; the job graph ends them.

    Raises InvalidInput on no condition at all: that would be every job.
    """
    if wanted.empty:
        raise InvalidInput(
            "a filter needs a condition",
            field="filter",
            next_action='A valid filter: {"state": ["pending"], "type": ["render"]}. Every job: name all states.',
        )
    async with db.unit() as uow:
        found = await jobs.live(
            uow,
            principal.sees,
            states=wanted.states,
            types=wanted.types,
            created_before=wanted.submitted_before,
            schedule_id=wanted.schedule_id,
            limit=limit + 1,
        )
        asked = await jobs.request_cancels(uow, found[:limit], principal.sees)
        await signals.add(uow, [(job_id, SignalKind.CANCEL_REQUESTED, None) for job_id in asked])
    return Cancelled(asked, [], [], len(found) > limit)
