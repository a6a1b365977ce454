"""What a plan's request comes to: its tasks, dependencies first, how many units each has, and what they may cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.core.money import run_cost
from app.core.plans import FailurePolicy, Unit


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

    @classmethod
    def of_units(cls, units: Sequence[Unit], budget: int) -> Blueprint:
        """What can be told from a plan's units alone, of one whose request can no longer be read."""
        tasks: dict[str, Task] = {}
        for unit in units:
            first = tasks[unit.task_id].first if unit.task_id in tasks else unit.number
            count = unit.number - first + 1
            tasks[unit.task_id] = Task(unit.task_id, first, count, (), "", 1, FailurePolicy.ABORT, 1, 0, unit.bid or 0)
        return cls(tasks, budget, 1, 0, 0, 1, 1)

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
