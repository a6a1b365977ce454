"""What people see of a plan on a terminal."""

from __future__ import annotations

from io import StringIO

import msgspec
from rich.console import Console

from app.cli.plan_screen import line, lines, screen, unit_table
from hae_client.models import PlanAnswer, TaskAnswer, UnitAnswer

PLAN = PlanAnswer(
    plan_id="plan_1",
    name="[red]pages[/red]",
    state="running",
    reason="",
    final=False,
    version=7,
    progress=0.25,
    units_total=4,
    units_over=1,
    budget_hyper="2.5",
    cost_hyper="0.1",
    reserved_hyper="0.2",
    remaining_hyper="2.2",
    created_at="2027-01-31T09:00:00.000Z",
    deadline_at="2027-01-31T10:00:00.000Z",
    finished_at="",
    error="read[2]: no node",
    forecast_hyper="0.4",
    worst_case_hyper="0.8",
    tasks=[
        TaskAnswer(
            task_id="read",
            units=3,
            waiting=1,
            running=1,
            done=1,
            skipped=0,
            failed=0,
            cancelled=0,
            after=[],
            cost_hyper="0.1",
        ),
        TaskAnswer(
            task_id="join",
            units=1,
            waiting=1,
            running=0,
            done=0,
            skipped=0,
            failed=0,
            cancelled=0,
            after=["read"],
            cost_hyper="0",
        ),
    ],
    units=[
        UnitAnswer(
            task_id="read",
            item=0,
            state="running",
            tries=2,
            bid_per_gpu_hour_hyper="0.3",
            cost_hyper="0",
            job_ids=["job_1", "job_2"],
            job_id="",
            error="a [red]herring[/red]",
        )
    ],
)


def drawn(*parts: object) -> str:
    written = StringIO()
    console = Console(file=written, width=120)
    for part in parts:
        console.print(part)
    return written.getvalue()


def test_a_screen_tells_units_costs_and_tasks() -> None:
    text = drawn(screen(PLAN))
    for told in (
        "plan_1 [red]pages[/red]: running",
        "units: 1 of 4 over (25%)",
        "cost so far 0.1, under way 0.2, forecast 0.4, at worst 0.8, of a budget of 2.5 HYPER",
        "deadline 2027-01-31T10:00:00.000Z",
        "read[2]: no node",
    ):
        assert told in text
    assert "finished" not in text
    rows = [row.split() for row in text.splitlines()]
    assert [
        "│",
        "read",
        "│",
        "│",
        "3",
        "│",
        "1",
        "│",
        "1",
        "│",
        "1",
        "│",
        "0",
        "│",
        "0",
        "│",
        "0",
        "│",
        "0.1",
        "│",
    ] in rows


def test_units_and_lines() -> None:
    assert line(PLAN) == "running  1/4 units  cost 0.1  forecast 0.4  budget 2.5 HYPER"
    assert lines(PLAN)[0] == "plan_1 [red]pages[/red]: running"
    units = drawn(unit_table(PLAN))
    assert "job_1 job_2" in units and "a [red]herring[/red]" in units


def test_a_dry_run_does_not_look_like_a_plan_that_runs() -> None:
    tried = msgspec.structs.replace(PLAN, plan_id="", reason="submitted", dry_run=True, worst_case_hyper="1.5")
    assert lines(tried) == [
        "[red]pages[/red]: can be submitted; this was a dry run, and nothing is stored",
        "units: 4",
        "cost at worst 1.5, of a budget of 2.5 HYPER",
    ]
    assert lines(msgspec.structs.replace(tried, name=""))[0].startswith("the plan: can be submitted")
