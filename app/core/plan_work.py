"""One plan in a wave: its locked rows, its jobs as they are, and what was decided about it so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.core.blueprint import Blueprint, Task
from app.core.events import Reason
from app.core.plans import PLAN_MOVES, UNIT_MOVES, Plan, PlanReason, PlanState, Unit, UnitState
from app.core.states import JOB_FINAL, JobState, check_move


@dataclass(frozen=True, slots=True)
class PlanJob:
    """A plan's job as its row says. ``node_id``: where it was last; ``excluded``: nodes that failed it. ``parked``: the
    job graph failed on it until its signals were parked, so that it may never end by itself."""

    id: str
    number: int
    state: JobState
    reason: str
    cost: int | None
    max_cost: int
    node_id: str | None
    excluded: Sequence[str]
    error: str | None
    parked: bool = False

    @property
    def live(self) -> bool:
        return self.state not in JOB_FINAL

    @property
    def active(self) -> bool:
        """Whether it will end: live, and not stuck."""
        return self.live and not self.parked

    @property
    def unplaced(self) -> bool:
        """Whether it ended because no node took it."""
        return self.state is JobState.EXPIRED and self.reason == Reason.NO_NODE_IN_TIME


@dataclass(frozen=True, slots=True)
class PlanMove:
    """One change as history keeps it; ``number`` None: of the plan itself."""

    number: int | None
    source: str | None
    target: str
    reason: str
    bid: int | None = None
    job_id: str | None = None


@dataclass(slots=True)
class Work:
    """One plan in a wave. ``digests``: of the result of each completed job of a redundant unit.

    Decided: ``changed`` units by number, ``releases`` (units to submit, in order), ``cancels`` (jobs to end) and
    ``moves``. ``held``: why units wait that could go, for people to read; empty = they do not. ``look_at``: when to
    look again, if nothing happens.
    ``fresh``: jobs submitted in this wave, ``submitted``: what they may cost at most, base units. ``asked``: whether
    the jobs of a plan that is given up are among ``cancels``.
    """

    plan: Plan
    blueprint: Blueprint
    units: list[Unit]
    jobs: Mapping[str, PlanJob]
    now: datetime
    digests: Mapping[str, str] = field(default_factory=dict)
    changed: dict[int, Unit] = field(default_factory=dict)
    releases: list[Unit] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    moves: list[PlanMove] = field(default_factory=list)
    unplaced: list[Unit] = field(default_factory=list)
    failed: list[tuple[Unit, PlanReason, str]] = field(default_factory=list)
    held: str = ""
    look_at: datetime | None = None
    submitted: int = 0
    fresh: set[str] = field(default_factory=set)
    asked: bool = False

    @property
    def live(self) -> list[PlanJob]:
        return [job for job in self.jobs.values() if job.live]

    @property
    def spent(self) -> int:
        """What the jobs that are over cost."""
        return sum(job.cost or 0 for job in self.jobs.values())

    @property
    def reserved(self) -> int:
        """What those under way may cost at most."""
        return sum(job.max_cost for job in self.jobs.values() if job.live)

    @property
    def started(self) -> int:
        """Jobs under way, those submitted in this wave included."""
        return len(self.live) + len(self.fresh)

    @property
    def active(self) -> int:
        """As started, without jobs that may never end."""
        return sum(job.active for job in self.jobs.values()) + len(self.fresh)

    @property
    def stuck(self) -> list[PlanJob]:
        """Jobs that may never end by themselves. What they may cost stays held back."""
        return [job for job in self.jobs.values() if job.live and job.parked]

    def under_way(self, unit: Unit) -> bool:
        """Whether a job of the unit is not over."""
        return any(job_id in self.fresh or (job_id in self.jobs and self.jobs[job_id].live) for job_id in unit.job_ids)

    def look_again(self, seconds: float) -> None:
        """Look at the plan again in that time, whatever happens."""
        at = self.now + timedelta(seconds=seconds)
        self.look_at = at if self.look_at is None else min(self.look_at, at)

    def task(self, unit: Unit) -> Task:
        return self.blueprint.tasks[unit.task_id]

    def move_unit(
        self, unit: Unit, target: UnitState, reason: PlanReason, *, bid: int | None = None, job_id: str | None = None
    ) -> None:
        """Move a unit, keeping history; raises IllegalTransition outside the table."""
        check_move(UNIT_MOVES, unit.state, target)
        self.moves.append(PlanMove(unit.number, unit.state, target, reason, bid, job_id))
        unit.state = target
        if target is not UnitState.RUNNING:
            unit.job_ids = []
        self.changed[unit.number] = unit

    def move_plan(self, target: PlanState, reason: str) -> None:
        """Move the plan, keeping history; raises IllegalTransition outside the table."""
        check_move(PLAN_MOVES, self.plan.state, target)
        self.moves.append(PlanMove(None, self.plan.state, target, reason))
        self.plan.state = target
        self.plan.reason = reason

    def give_up(self, reason: PlanReason, error: str = "") -> None:
        """Begin to end the plan, for the first reason there is."""
        if self.plan.state is PlanState.RUNNING:
            self.move_plan(PlanState.CANCELLING, reason)
            self.plan.error = error or None
