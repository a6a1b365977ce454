"""What `hae plan` shows of a plan: once, or again and again until its end."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from hae_client import Client, WaitTimeout
from hae_client.models import PlanAnswer

LOOK_S = 2.0
"""Between two looks at a plan that is not over; its end shows at once."""


def follow(
    client: Client,
    plan_id: str,
    timeout_s: float | None,
    *,
    quiet: bool = False,
    told: Callable[[PlanAnswer], None] | None = None,
) -> PlanAnswer:
    """The plan at its end. Meanwhile ``told`` gets it at each change; without, and unless ``quiet``, it is shown: on a
    terminal as a screen, else in a line a change. Raises WaitTimeout after ``timeout_s`` seconds."""
    until = None if timeout_s is None else time.monotonic() + timeout_s
    console = Console()
    live = Live(console=console, auto_refresh=False) if console.is_terminal and told is None and not quiet else None
    if live is not None:
        live.start()
    try:
        seen: tuple[int, int, str] | None = None
        while True:
            plan = _look(client, plan_id, seen is not None, until)
            now = (plan.version, plan.units_over, plan.cost_hyper)
            if now != seen:
                seen = now
                if told is not None:
                    told(plan)
                elif live is not None:
                    live.update(screen(plan), refresh=True)
                elif not quiet:
                    print(line(plan), flush=True)
            if plan.final:
                return plan
            if until is not None and time.monotonic() >= until:
                raise WaitTimeout(plan)
    finally:
        if live is not None:
            live.stop()


def _look(client: Client, plan_id: str, again: bool, until: float | None) -> PlanAnswer:
    """The plan now, or ``again``: at its end, or in LOOK_S seconds."""
    if not again:
        return client.get_plan(plan_id)
    left = LOOK_S if until is None else min(LOOK_S, max(0.0, until - time.monotonic()))
    return client.get_plan(plan_id, wait_s=left)


def line(plan: PlanAnswer) -> str:
    """How far it is, in one line."""
    return (
        f"{plan.state}  {plan.units_over}/{plan.units_total} units  cost {plan.cost_hyper}  "
        f"forecast {plan.forecast_hyper}  budget {plan.budget_hyper} HYPER"
    )


def lines(plan: PlanAnswer) -> list[str]:
    """What there is to say of it as a whole."""
    if plan.dry_run:
        return [
            f"{plan.name or 'the plan'}: can be submitted; this was a dry run, and nothing is stored",
            f"units: {plan.units_total}",
            f"cost at worst {plan.worst_case_hyper}, of a budget of {plan.budget_hyper} HYPER",
        ]
    title = " ".join(part for part in (plan.plan_id, plan.name) if part)
    why = f" ({plan.reason})" if plan.reason else ""
    told = [
        f"{title}: {plan.state}{why}",
        f"units: {plan.units_over} of {plan.units_total} over ({plan.progress:.0%})",
        f"cost so far {plan.cost_hyper}, under way {plan.reserved_hyper}, forecast {plan.forecast_hyper}, at worst "
        f"{plan.worst_case_hyper}, of a budget of {plan.budget_hyper} HYPER",
    ]
    times = (("created", plan.created_at), ("deadline", plan.deadline_at), ("finished", plan.finished_at))
    told += [f"{name} {at}" for name, at in times if at]
    return [*told, plan.error] if plan.error else told


def task_table(plan: PlanAnswer) -> Table:
    """Its tasks with their units by state."""
    counted = ("units", "wait", "run", "done", "skip", "fail", "cancel")
    table = Table("task", "after", *counted, Column("cost", min_width=11))
    for task in plan.tasks:
        counts = (
            task.units, task.waiting, task.running, task.done, task.skipped, task.failed, task.cancelled,
        )  # fmt: skip
        table.add_row(task.task_id, " ".join(task.after), *(str(count) for count in counts), task.cost_hyper)
    return table


def unit_table(plan: PlanAnswer) -> Table:
    """Each unit of its work."""
    table = Table("task", "item", "state", "tries", "bid", "cost", "jobs", "error")
    for unit in plan.units:
        jobs = " ".join(unit.job_ids) or unit.job_id
        numbers = (str(unit.tries), unit.bid_per_gpu_hour_hyper, unit.cost_hyper)
        table.add_row(unit.task_id, str(unit.item), unit.state, *numbers, jobs, escape(unit.error))
    return table


def screen(plan: PlanAnswer) -> RenderableType:
    """All of it, for a terminal."""
    bar = ProgressBar(total=1.0, completed=min(1.0, plan.progress), width=60)
    return Group(*(Text(one) for one in lines(plan)), bar, Text(), task_table(plan))
