"""What a plan's rows call for next: pure decisions of the plan graph, from the rows alone, each on a work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta

from app.core.plan_work import PlanJob, Work
from app.core.plans import UNIT_FINAL, FailurePolicy, PlanReason, PlanState, Unit, UnitState
from app.core.states import JobState

RELEASED_AT_ONCE = 500
"""Units that a plan releases in one wave at most: others' plans wait for it."""
BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
"""Of the wait before a failed unit is retried, which doubles with each try."""


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
            work.cancels += [job.id for job in runs if job.live]
            if not any(job.active for job in runs):
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
    live = sum(job.active for job in runs)
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
            # A node is not to blame for a job that somebody cancelled, or that the engine itself cannot go on with.
            runs = [work.jobs[job_id] for job_id in unit.job_ids if job_id in work.jobs]
            to_blame = [job for job in runs if job.state is not JobState.CANCELLED and not job.parked]
            nodes = {node for job in to_blame for node in (*job.excluded, job.node_id) if node}
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
    slots = work.blueprint.parallelism - work.active
    left = work.blueprint.budget - work.spent - work.reserved - work.submitted
    for unit in _ready(work):
        task = work.task(unit)
        cost = task.cost(unit.bid or 0)
        if cost > left:
            if work.started or work.releases:
                stuck = "" if work.active or work.releases or not work.stuck else f": {_stuck(work)}"
                work.held = f"waits for budget that jobs under way hold back{stuck}"
                break
            told = f"{unit.task_id}[{unit.item}] may cost {cost} base units, and {left} are left"
            if task.policy is not FailurePolicy.SKIP:
                work.give_up(PlanReason.BUDGET_EXHAUSTED, told)
                break
            unit.error = told
            work.move_unit(unit, UnitState.SKIPPED, PlanReason.BUDGET_EXHAUSTED)
            continue
        if task.runs > slots and (work.active or work.releases):
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
    """End what is to end: a plan whose units are all over, or that was given up, once no job of it is under way.

    A plan that has nothing left to wait for but stuck jobs stays, and says so: it is not over while one may cost more.
    """
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

    ending = plan.state is PlanState.CANCELLING or (plan.state is PlanState.RUNNING and _all_over(work))
    if ending and work.stuck and not work.active:
        work.held = _stuck(work)


def _stuck(work: Work) -> str:
    jobs = work.stuck
    more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    return f"the engine failed on job {jobs[0].id}{more} again and again; an operator has to requeue it (hae jobs dead)"


def _all_over(work: Work) -> bool:
    return all(unit.state in UNIT_FINAL for unit in work.units)
