"""Plans decided wave by wave, with jobs that end as chance will have it: the budget, the order and the end hold."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import planning
from app.core.blueprint import Blueprint, Task
from app.core.errors import IllegalTransition
from app.core.plan_work import PlanJob, Work
from app.core.plans import PLAN_FINAL, UNIT_FINAL, FailurePolicy, Plan, PlanReason, PlanState, Unit, UnitState
from app.core.states import JobState

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def blueprint(chance: random.Random) -> Blueprint:
    """A random one: tasks that wait for earlier ones, or go along with one item by item."""
    tasks: dict[str, Task] = {}
    first = 0
    for number in range(chance.randint(1, 5)):
        names = list(tasks)
        each_of = chance.choice(names) if names and chance.random() < 0.4 else ""
        units = tasks[each_of].units if each_of else chance.randint(1, 5)
        after = tuple(name for name in names if chance.random() < 0.4 and name != each_of)
        policy = chance.choice(list(FailurePolicy))
        task_id = f"t{number}"
        runs, gpus = chance.choice((1, 1, 3)), chance.randint(1, 4)
        tasks[task_id] = Task(task_id, first, units, after, each_of, runs, policy, gpus, 3600, chance.randint(5, 20))
        first += units
    least = max(task.cost(task.ceiling) for task in tasks.values())
    budget = least + chance.randint(0, 3 * sum(task.units * task.cost(task.ceiling) for task in tasks.values()))
    return Blueprint(tasks, budget, chance.randint(1, 9), chance.randint(1, 20), chance.choice((0, 3)), 1, 3)


class Story:
    """One plan from its first wave to its end; jobs are rows that only the story changes."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.blueprint = blueprint(self.chance)
        self.units = self.blueprint.new_units()
        self.jobs: dict[str, PlanJob] = {}
        self.digests: dict[str, str] = {}
        self.now = NOW
        self.plan = Plan(
            "plan_1", "acme", "key_a", "", PlanState.RUNNING, "submitted", 1, None, self.blueprint.budget, 0, 0, False,
            None, NOW, None, None,
        )  # fmt: skip

    def wave(self) -> Work:
        work = Work(self.plan, self.blueprint, self.units, dict(self.jobs), self.now, dict(self.digests))
        planning.gather(work)
        planning.negotiate(work)
        planning.replan(work)
        planning.release(work)
        for job_id in work.cancels:
            self.end(job_id, JobState.CANCELLED, None)
        for unit in work.releases:
            self.submit(work, unit)
        planning.finish(work)
        assert work.spent + work.reserved + work.submitted <= self.blueprint.budget
        return work

    def submit(self, work: Work, unit: Unit) -> None:
        task = work.task(unit)
        assert all(self.over(name) for name in task.after), "released before its time"
        if task.each_of:
            source = self.units[self.blueprint.tasks[task.each_of].first + unit.item]
            assert source.state is UnitState.DONE
        assert unit.bid is not None and 0 < unit.bid <= task.ceiling
        made = []
        for _ in range(task.runs):
            job_id = f"job_{len(self.jobs):04}"
            made.append(job_id)
            cost = task.cost(unit.bid) // task.runs
            self.jobs[job_id] = PlanJob(job_id, unit.number, JobState.RUNNING, "", None, cost, "node_1", [], None)
        work.fresh.update(made)
        work.submitted += task.cost(unit.bid)
        unit.job_ids = made
        work.move_unit(unit, UnitState.RUNNING, PlanReason.RELEASED)

    def over(self, task_id: str) -> bool:
        task = self.blueprint.tasks[task_id]
        return all(unit.state in UNIT_FINAL for unit in self.units[task.first : task.first + task.units])

    def end(self, job_id: str, state: JobState, cost: int | None, reason: str = "") -> None:
        if self.jobs[job_id].live:
            self.jobs[job_id] = replace(self.jobs[job_id], state=state, cost=cost, reason=reason)

    def happen(self) -> None:
        """Some jobs end, some as nobody wished; time passes, so that nothing waits for its next try."""
        live = [job for job in self.jobs.values() if job.live]
        for job in live if len(live) < 3 else self.chance.sample(live, self.chance.randint(1, len(live))):
            draw = self.chance.random()
            if draw < 0.75:
                self.end(job.id, JobState.COMPLETED, self.chance.randint(0, job.max_cost))
                self.digests[job.id] = self.chance.choice("aab")
            elif draw < 0.9:
                self.end(job.id, JobState.EXPIRED, None, "no_node_in_time")
            else:
                self.end(job.id, JobState.FAILED, None, "retries_exhausted")
        self.now += timedelta(seconds=planning.LONGEST_BACKOFF_S)
        if self.chance.random() < 0.02:
            self.plan.cancel_requested = True


@given(st.integers(min_value=0, max_value=2**32))
def test_every_plan_ends_within_its_budget(seed: int) -> None:
    story = Story(seed)
    for _ in range(1000):
        story.wave()
        if story.plan.state in PLAN_FINAL:
            break
        story.happen()
    assert story.plan.state in PLAN_FINAL, "it never ends"
    assert not any(job.live for job in story.jobs.values())
    assert all(unit.state in UNIT_FINAL for unit in story.units)
    assert sum(job.cost or 0 for job in story.jobs.values()) <= story.blueprint.budget
    for unit in story.units:
        assert (unit.winner is not None) == (unit.state is UnitState.DONE)
        if unit.state is UnitState.FAILED:
            assert story.plan.state is not PlanState.COMPLETED
    if story.plan.state is PlanState.COMPLETED:
        assert {unit.state for unit in story.units} <= {UnitState.DONE, UnitState.SKIPPED}


@given(st.integers(min_value=0, max_value=2**32))
def test_a_wave_in_which_nothing_happened_decides_nothing(seed: int) -> None:
    story = Story(seed)
    story.wave()
    again = story.wave()
    assert (again.moves, again.releases, again.cancels) == ([], [], [])


def test_moves_outside_the_table_are_refused() -> None:
    story = Story(1)
    work = Work(story.plan, story.blueprint, story.units, {}, NOW)
    with pytest.raises(IllegalTransition):
        work.move_unit(story.units[0], UnitState.DONE, PlanReason.RESULT)
    work.move_plan(PlanState.COMPLETED, PlanReason.ALL_DONE)
    with pytest.raises(IllegalTransition):
        work.move_plan(PlanState.RUNNING, PlanReason.SUBMITTED)
