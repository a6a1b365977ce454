"""What a plan's request comes to: its blueprint, checked before anything is stored, and the jobs of its units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from app.core.access import Principal
from app.core.blueprint import Blueprint, Task
from app.core.errors import BudgetExceeded, InvalidInput
from app.core.money import format_hyper, parse_price
from app.core.plans import FailurePolicy, Unit
from app.services.submissions import Submission
from tools.context import Defaults
from tools.jobs import submission_of
from tools.plan_schemas import MAX_UNITS, PlanTask, SubmitPlan
from tools.plan_templates import Reference, fill, references
from tools.schemas import JobSpec

MOST_RAISES = 100
LARGEST = 1 << 20
"""Bytes that a job's texts may come to with their values filled in: as the body of a job submitted by itself."""
_TEMPLATED = ("model", "prompt", "input")


@dataclass(frozen=True, slots=True)
class Reading:
    """A request with its blueprint. ``tasks``: as asked for, by id; ``sources``: the tasks whose results each uses."""

    asked: SubmitPlan
    blueprint: Blueprint
    tasks: Mapping[str, PlanTask]
    sources: Mapping[str, frozenset[str]]


def stored(request: Mapping[str, Any]) -> SubmitPlan:
    """The request as it was stored: one that was read before."""
    return msgspec.convert(dict(request), SubmitPlan)


def read(defaults: Defaults, principal: Principal, asked: SubmitPlan) -> Reading:
    """Check the request and number its units.

    Raises InvalidInput, naming the field, on what cannot work (``cyclic_plan``, ``unknown_reference``,
    ``plan_too_large`` among others), and BudgetExceeded when the budget does not even cover one unit.
    """
    tasks = _by_id(asked)
    needs = {task.task_id: _needs(task, tasks) for task in asked.tasks}
    order = _ordered({name: {*needed, *filter(None, [tasks[name].for_each_of])} for name, needed in needs.items()})
    budget = parse_price(asked.budget_hyper, "budget_hyper")
    ceiling = parse_price(asked.max_price_per_gpu_hour_hyper, "max_price_per_gpu_hour_hyper")
    start = _price(asked.start_price_per_gpu_hour_hyper, "start_price_per_gpu_hour_hyper") or ceiling
    step = _price(asked.raise_step_hyper, "raise_step_hyper")
    if start > ceiling:
        raise InvalidInput(
            f"the start price {format_hyper(start)} is above the highest, {format_hyper(ceiling)}",
            field="start_price_per_gpu_hour_hyper",
        )
    if step and (ceiling - start) > step * MOST_RAISES:
        raise InvalidInput(
            f"the price would be raised {-(-(ceiling - start) // step)} times, and {MOST_RAISES} are the most",
            field="raise_step_hyper",
            next_action="Raise by larger steps, or start at a higher price: each bid is a job of its own.",
        )
    laid: dict[str, Task] = {}
    first = 0
    for task_id in order:
        task = tasks[task_id]
        laid[task_id] = _laid(defaults, principal, asked, task, needs[task_id], first, laid, ceiling)
        first += laid[task_id].units
    blueprint = Blueprint(laid, budget, asked.parallelism, start, step, asked.raise_after_s, asked.max_tries)
    if blueprint.jobs > MAX_UNITS:
        raise InvalidInput(
            f"the plan comes to {blueprint.jobs} jobs, and {MAX_UNITS} are the most",
            code="plan_too_large",
            field="tasks",
            next_action="Split it into several plans, or have fewer items or runs.",
        )
    _check_budget(blueprint)
    sources = {
        name: frozenset(filter(None, (one.task_id for one in _references(task)))) for name, task in tasks.items()
    }
    return Reading(asked, blueprint, tasks, sources)


def _price(text: str, field: str) -> int:
    return parse_price(text, field) if text else 0


def _check_budget(blueprint: Blueprint) -> None:
    for task in blueprint.tasks.values():
        least = task.cost(blueprint.opening(task))
        if least > blueprint.budget:
            raise BudgetExceeded(
                f"one job of task {task.task_id} may cost {format_hyper(least)} HYPER ({task.runs} x {task.gpus} GPUs "
                f"x {task.timeout_s} s), and the budget is {format_hyper(blueprint.budget)} HYPER",
                field="budget_hyper",
                next_action="Raise the budget, lower the start price, or give the job a shorter timeout_s.",
            )


def _by_id(asked: SubmitPlan) -> dict[str, PlanTask]:
    tasks = {task.task_id: task for task in asked.tasks}
    if len(tasks) < len(asked.tasks):
        names = [task.task_id for task in asked.tasks]
        doubled = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"two tasks are called {doubled}", field="tasks", next_action="Give each a name of its own.")
    return tasks


def _needs(task: PlanTask, tasks: Mapping[str, PlanTask]) -> tuple[str, ...]:
    """The tasks all of whose units must be over before units of ``task``."""
    at = f"tasks.{task.task_id}"
    if task.for_each and task.for_each_of:
        raise InvalidInput("give for_each or for_each_of, not both", field=f"{at}.for_each")
    mapped = bool(task.for_each or task.for_each_of)
    needed = dict.fromkeys(task.after)
    for reference in _references(task):
        if reference.task_id:
            needed[reference.task_id] = None
            other = tasks.get(reference.task_id)
            if reference.of == "result" and other is not None and (other.for_each or other.for_each_of):
                raise InvalidInput(
                    f"{{{{{reference}}}}}: task {reference.task_id} has more than one result",
                    code="unknown_reference",
                    field=f"{at}.job",
                    next_action=f"Use {{{{tasks.{reference.task_id}.results}}}}, or for_each_of and {{{{item}}}}.",
                )
        elif not mapped:
            raise InvalidInput(
                f"{{{{{reference}}}}} needs for_each or for_each_of", code="unknown_reference", field=f"{at}.job"
            )
    for name in (*needed, *filter(None, [task.for_each_of])):
        if name not in tasks:
            raise InvalidInput(
                f"task {task.task_id} needs a task {name[:40]}, which there is not",
                code="unknown_reference",
                field=f"{at}.after" if name in task.after else at,
                next_action=f"Tasks of this plan: {', '.join(tasks)}"[:300],
            )
    return tuple(needed)


def _references(task: PlanTask) -> Iterator[Reference]:
    for name in _TEMPLATED:
        yield from references(getattr(task.job, name), f"tasks.{task.task_id}.job.{name}")


def _ordered(needs: Mapping[str, set[str]]) -> list[str]:
    """The tasks, each behind those that it needs, else as given. Raises InvalidInput on a cycle, naming it."""
    order: list[str] = []
    done: set[str] = set()
    left = dict(needs)
    while left:
        ready = [name for name, needed in left.items() if needed <= done]
        if not ready:
            raise InvalidInput(
                f"tasks wait for each other: {' -> '.join(_cycle(left))}",
                code="cyclic_plan",
                field="tasks",
                next_action="Take one of these dependencies out.",
            )
        order += ready
        done.update(ready)
        for name in ready:
            del left[name]
    return order


def _cycle(left: Mapping[str, set[str]]) -> list[str]:
    path = [next(iter(left))]
    while True:
        following = next(name for name in sorted(left[path[-1]]) if name in left)
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)


def _laid(
    defaults: Defaults,
    principal: Principal,
    asked: SubmitPlan,
    task: PlanTask,
    needs: tuple[str, ...],
    first: int,
    before: Mapping[str, Task],
    ceiling: int,
) -> Task:
    at = f"tasks.{task.task_id}.job"
    if task.job.deadline_s:
        raise InvalidInput("a plan's jobs share its deadline", field=f"{at}.deadline_s")
    runs = task.redundancy or asked.redundancy
    if runs % 2 == 0:
        raise InvalidInput("a majority needs an odd number of runs", field=f"{at.removesuffix('.job')}.redundancy")
    try:
        one = submission_of(defaults, principal, task.job)
    except InvalidInput as error:
        raise InvalidInput(error.detail, field=f"{at}.{error.field}", next_action=error.next_action) from None
    policy = asked.on_failure if task.on_failure == "plan" else FailurePolicy(task.on_failure)
    units = before[task.for_each_of].units if task.for_each_of else len(task.for_each) or 1
    own = one.requirements.max_price
    return Task(
        task.task_id,
        first,
        units,
        needs,
        task.for_each_of,
        runs,
        policy,
        one.requirements.gpus,
        one.timeout_s,
        ceiling if own is None else min(own, ceiling),
    )


def unit_job(
    reading: Reading,
    defaults: Defaults,
    principal: Principal,
    unit: Unit,
    result_of: Callable[[str, int], Any],
) -> Submission:
    """The job of a unit, its references filled in. ``result_of``: of a task's item, None for one that was skipped.

    Raises Unresolvable, and InvalidInput where a job with these values cannot be.
    """
    task = reading.tasks[unit.task_id]

    def value_of(reference: Reference) -> Any:
        if reference.of == "index":
            return unit.item
        if reference.of == "item":
            return task.for_each[unit.item] if task.for_each else result_of(task.for_each_of, unit.item)
        if reference.of == "result":
            return result_of(reference.task_id, 0)
        count = reading.blueprint.tasks[reference.task_id].units
        return [result_of(reference.task_id, item) for item in range(count)]

    template = {name: fill(getattr(task.job, name), value_of) for name in _TEMPLATED}
    size = len(msgspec.json.encode(template))
    if size > LARGEST:
        raise InvalidInput(
            f"with its values filled in the job comes to {size} bytes, and {LARGEST} are the most", field="job"
        )
    for name in ("model", "prompt"):
        if not isinstance(template[name], str):
            template[name] = msgspec.json.encode(template[name]).decode()
    try:
        job = msgspec.convert(msgspec.to_builtins(task.job) | template, JobSpec)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"with its values filled in: {error}"[:500], field="job") from None
    return submission_of(defaults, principal, job)
