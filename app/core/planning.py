"""What a plan's rows call for next: pure decisions of the plan graph, from the rows alone.

A blueprint is what the plan's request comes to: its tasks, dependencies first, and how many units each has. A work is
one plan in a wave: its locked rows, its jobs as they are, and what was decided about it so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.core.events import Reason
from app.core.money import run_cost
from app.core.plans import (
    PLAN_MOVES,
    UNIT_FINAL,
    UNIT_MOVES,
    FailurePolicy,
    Plan,
    PlanReason,
    PlanState,
    Unit,
    UnitState,
)
from app.core.states import JOB_FINAL, JobState, check_move

RELEASED_AT_ONCE = 500
"""Units that a plan releases in one wave at most: others' plans wait for it."""
BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
"""Of the wait before a failed unit is retried, which doubles with each try."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a blueprint. ``first``: number of its first unit, ``units``: how many it has.

    ``after``: the tasks all of whose units must be over first; ``each_of``: the one of which only the unit of the same
    item must be. ``runs``: jobs a unit, of which most must agree. ``gpus`` and ``timeout_s``: of its jobs. ``ceiling``:
    base units of HYPER a GPU-hour that they offer at most.
    """

    task_id: str
    first: int
    units: int
    after: tuple[str, ...]
    each_of: str
    runs: int
    policy: FailurePolicy
    gpus: int
    timeout_s: int
    ceiling: int

    def cost(self, bid: int) -> int:
        """What a unit may cost at most, in base units: every run all its time, at its price."""
        return self.runs * run_cost(bid, self.gpus, self.timeout_s * 1000)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A plan's request, read. Prices in base units of HYPER a GPU-hour; ``tasks``: by id, dependencies first."""

    tasks: Mapping[str, Task]
    budget: int
    parallelism: int
    start: int
    step: int
    raise_after_s: int
    max_tries: int

    @property
    def units(self) -> int:
        return sum(task.units for task in self.tasks.values())

    @property
    def jobs(self) -> int:
        """Jobs that it comes to if nothing has to be tried twice."""
        return sum(task.units * task.runs for task in self.tasks.values())

    @property
    def worst_case(self) -> int:
        """What it costs if every job takes all its time at the highest price, in base units."""
        return sum(task.units * task.cost(task.ceiling) for task in self.tasks.values())

    def opening(self, task: Task) -> int:
        """What a unit's jobs offer at first."""
        return min(self.start, task.ceiling)

    def new_units(self) -> list[Unit]:
        """All units, waiting."""
        return [
            Unit(task.first + item, task.task_id, item, bid=self.opening(task))
            for task in self.tasks.values()
            for item in range(task.units)
        ]


@dataclass(frozen=True, slots=True)
class PlanJob:
    """A plan's job as its row says. ``node_id``: where it was last; ``excluded``: nodes that failed it."""

    id: str
    number: int
    state: JobState
    reason: str
    cost: int | None
    max_cost: int
    node_id: str | None
    excluded: Sequence[str]
    error: str | None

    @property
    def live(self) -> bool:
        return self.state not in JOB_FINAL

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
    """One plan in a wave. ``results``: digest of the result of each completed job of a redundant unit.

    Decided: ``changed`` units by number, ``releases`` (units to submit, in order), ``cancels`` (jobs to end) and
    ``moves``. ``held``: why units wait that could go, for people to read. ``look_at``: when to look again, if nothing
    happens.
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


def gather(work: Work) -> None:
    """See what became of the units under way; those without a result wait for ``negotiate`` and ``replan``."""
    for unit in work.units:
        if unit.state is not UnitState.RUNNING:
            continue
        runs = [work.jobs[job_id] for job_id in unit.job_ids if job_id in work.jobs]
        winner = _winner(work, unit, runs)
        if winner is not None:
            work.cancels += [job.id for job in runs if job.live]
            unit.winner = winner
            unit.error = None
            work.move_unit(unit, UnitState.DONE, PlanReason.RESULT, job_id=winner)
        elif not _hope(work, unit, runs):
            if any(job.live for job in runs):
                work.cancels += [job.id for job in runs if job.live]
            else:
                _give_back(work, unit, runs)


def _winner(work: Work, unit: Unit, runs: Sequence[PlanJob]) -> str | None:
    """The first of the jobs that came to the result which most of the unit's runs came to; None without one."""
    completed = [job.id for job in runs if job.state is JobState.COMPLETED]
    needed = work.task(unit).runs // 2 + 1
    if needed == 1:
        return completed[0] if completed else None
    count = Counter(work.digests[job_id] for job_id in completed)
    for digest, times in count.most_common(1):
        if times >= needed:
            return next(job_id for job_id in completed if work.digests[job_id] == digest)
    return None


def _hope(work: Work, unit: Unit, runs: Sequence[PlanJob]) -> bool:
    """Whether the runs that are not over can still make a majority."""
    live = sum(job.live for job in runs)
    count = Counter(work.digests.get(job.id, job.id) for job in runs if job.state is JobState.COMPLETED)
    return live > 0 and live + max(count.values(), default=0) >= work.task(unit).runs // 2 + 1


_HARMLESS = (JobState.COMPLETED, JobState.CANCELLED)


def _give_back(work: Work, unit: Unit, runs: Sequence[PlanJob]) -> None:
    if len({work.digests.get(job.id) for job in runs if job.state is JobState.COMPLETED}) > 1:
        work.failed.append((unit, PlanReason.NO_MAJORITY, "its runs came to different results"))
        return
    # Of several runs some may have found nodes: those that did are over, or were ended as there was no hope.
    if any(job.unplaced for job in runs) and all(job.unplaced or job.state in _HARMLESS for job in runs):
        work.unplaced.append(unit)
        return
    failed = [job for job in runs if job.state is not JobState.COMPLETED]
    told = next((f"{job.id}: {job.error or job.reason}" for job in failed), "its jobs are gone")
    work.failed.append((unit, PlanReason.UNIT_FAILED, told))


def negotiate(work: Work) -> None:
    """Have units that no node took offer more, up to the highest price; past it they failed."""
    for unit in work.unplaced:
        task, bid = work.task(unit), unit.bid or 0
        if work.blueprint.step and bid < task.ceiling:
            unit.bid = min(task.ceiling, bid + work.blueprint.step)
            work.move_unit(unit, UnitState.WAITING, PlanReason.BID_RAISED, bid=unit.bid)
        else:
            work.failed.append((unit, PlanReason.UNPLACED, "no node took it at the highest price it may offer"))


def replan(work: Work) -> None:
    """Do with failed units as their policies say; then see whether the plan is to end before its time."""
    for unit, reason, told in work.failed:
        _after_failure(work, unit, reason, told)
    plan = work.plan
    if plan.cancel_requested:
        work.give_up(PlanReason.CANCEL_REQUESTED)
    elif plan.deadline_at is not None and plan.deadline_at <= work.now and not _all_over(work):
        work.give_up(PlanReason.DEADLINE_PASSED, "its deadline came before its end")


def _after_failure(work: Work, unit: Unit, reason: PlanReason, told: str) -> None:
    policy = work.task(unit).policy
    unit.tries += 1
    unit.error = told
    if policy is FailurePolicy.SKIP:
        work.move_unit(unit, UnitState.SKIPPED, reason)
    elif policy is FailurePolicy.ABORT or unit.tries >= work.blueprint.max_tries:
        work.move_unit(unit, UnitState.FAILED, reason)
        work.give_up(reason, f"{unit.task_id}[{unit.item}]: {told}")
    else:
        replaced = policy is FailurePolicy.REPLACE
        if replaced:
            runs = [work.jobs[job_id] for job_id in unit.job_ids if job_id in work.jobs]
            nodes = {node for job in runs for node in (*job.excluded, job.node_id) if node}
            unit.excluded = sorted(nodes.union(unit.excluded))
        pause = min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0 ** min(unit.tries - 1, 30))
        unit.not_before = work.now + timedelta(seconds=pause)
        work.move_unit(unit, UnitState.WAITING, PlanReason.REPLACED if replaced else PlanReason.RETRIED)


def release(work: Work) -> None:
    """Choose the units to submit: in order, as many as parallelism and budget allow. Nothing is skipped over for want
    of budget: what is left of it when jobs cost less than held back is for who has waited longest.

    Of a plan that was given up, the jobs under way are to end.
    """
    if work.plan.state is PlanState.CANCELLING:
        work.cancels += [job.id for job in work.live]
        work.asked = True
    release_more(work)


def release_more(work: Work) -> None:
    """As release, once those jobs were asked to end: whom a plan that is given up now leaves, its next wave asks."""
    while work.plan.state is PlanState.RUNNING and _release(work):
        work.releases.clear()


def _release(work: Work) -> bool:
    """One pass; whether units were skipped in it, so that others may be ready now."""
    moves = len(work.moves)
    slots = work.blueprint.parallelism - work.started
    left = work.blueprint.budget - work.spent - work.reserved - work.submitted
    for unit in _ready(work):
        task = work.task(unit)
        cost = task.cost(unit.bid or 0)
        if cost > left:
            if work.started or work.releases:
                work.held = "waits for budget that jobs under way hold back"
                break
            told = f"{unit.task_id}[{unit.item}] may cost {cost} base units, and {left} are left"
            if task.policy is not FailurePolicy.SKIP:
                work.give_up(PlanReason.BUDGET_EXHAUSTED, told)
                break
            unit.error = told
            work.move_unit(unit, UnitState.SKIPPED, PlanReason.BUDGET_EXHAUSTED)
            continue
        if task.runs > slots and (work.started or work.releases):
            break
        if len(work.releases) >= RELEASED_AT_ONCE:
            work.look_again(0.0)
            break
        slots -= task.runs
        left -= cost
        work.releases.append(unit)
    return work.plan.state is PlanState.RUNNING and len(work.moves) > moves


def _ready(work: Work) -> Iterator[Unit]:
    """Waiting units whose turn has come, in order; those whose item was skipped are skipped, too."""
    over: dict[str, bool] = {}

    def task_over(task_id: str) -> bool:
        if task_id not in over:
            task = work.blueprint.tasks[task_id]
            over[task_id] = all(unit.state in UNIT_FINAL for unit in work.units[task.first : task.first + task.units])
        return over[task_id]

    for unit in work.units:
        if unit.state is not UnitState.WAITING:
            continue
        task = work.task(unit)
        if not all(task_over(name) for name in task.after):
            continue
        if task.each_of:
            source = work.units[work.blueprint.tasks[task.each_of].first + unit.item]
            if source.state is UnitState.SKIPPED:
                unit.error = f"{source.task_id}[{source.item}] was skipped"
                work.move_unit(unit, UnitState.SKIPPED, PlanReason.SKIPPED)
                continue
            if source.state is not UnitState.DONE:
                continue
        if unit.not_before is not None and unit.not_before > work.now:
            work.look_at = min(work.look_at or unit.not_before, unit.not_before)
            continue
        yield unit


def finish(work: Work) -> None:
    """End what is to end: a plan whose units are all over, or that was given up, once no job of it is under way."""
    plan = work.plan
    if plan.state is PlanState.CANCELLING:
        for unit in work.units:
            if unit.state not in UNIT_FINAL and not work.under_way(unit):
                work.move_unit(unit, UnitState.CANCELLED, PlanReason(plan.reason))
        if not work.started:
            by_agent = plan.reason == PlanReason.CANCEL_REQUESTED
            work.move_plan(PlanState.CANCELLED if by_agent else PlanState.FAILED, plan.reason)
        elif not work.asked:
            # It was given up after jobs were asked to end: that comes before budgets are held back, never after.
            work.look_again(0.0)
    elif plan.state is PlanState.RUNNING and _all_over(work) and not work.started:
        work.move_plan(PlanState.COMPLETED, PlanReason.ALL_DONE)


def _all_over(work: Work) -> bool:
    return all(unit.state in UNIT_FINAL for unit in work.units)
