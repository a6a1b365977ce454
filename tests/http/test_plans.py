"""Plans over REST and as tools: made, drawn, listed, cancelled, and refused before anything is stored."""

from __future__ import annotations

import copy
from typing import Any
from xml.etree import ElementTree

import pytest

from app.core.access import Rights
from app.core.money import UNIT
from app.services import keys
from tests.http.catalogue import PLANNED
from tests.http.conftest import as_
from tests.support.live_engine import Hae, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
MAPPED: dict[str, Any] = {
    "name": "pages & <more>",
    "budget_hyper": "100",
    "max_price_per_gpu_hour_hyper": "2",
    "tasks": [
        {
            "task_id": "read",
            "for_each": [1, 2, 3],
            "job": {"type": "llm_inference", "prompt": "{{item}}", "timeout_s": 60},
        },
        {"task_id": "join", "job": {"type": "llm_inference", "prompt": "{{tasks.read.results}}", "timeout_s": 60}},
    ],
}


def changed(**changes: Any) -> dict[str, Any]:
    """The plan above with other values; ``tasks.N.NAME`` changes a task's."""
    plan = copy.deepcopy(MAPPED)
    for name, value in changes.items():
        at, _, field = name.partition("__")
        if field:
            plan["tasks"][int(at.removeprefix("task"))][field] = value
        else:
            plan[name] = value
    return plan


async def test_a_plan_from_its_making_to_its_cancelling(still: Hae) -> None:
    alice, bob = as_(still, "alice"), as_(still, "bob")
    answers = [await alice.post("/v1/plans", json=MAPPED, headers={"idempotency-key": "p"}) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 200]
    made = answers[0].json()
    path = answers[0].headers["location"]
    assert path == f"/v1/plans/{made['plan_id']}"
    assert answers[1].json()["plan_id"] == made["plan_id"]
    assert (made["state"], made["units_total"], made["cost_hyper"], made["remaining_hyper"]) == (
        "running",
        4,
        "0",
        "100",
    )
    # Four minutes at 2 HYPER an hour.
    assert made["worst_case_hyper"] == made["forecast_hyper"] == "0.133333336"
    assert [(task["task_id"], task["waiting"], task["after"]) for task in made["tasks"]] == [
        ("read", 3, []),
        ("join", 1, ["read"]),
    ]
    found = (await alice.get(path, params={"units": True})).json()
    assert [(unit["task_id"], unit["item"]) for unit in found["units"]] == [
        ("read", 0),
        ("read", 1),
        ("read", 2),
        ("join", 0),
    ]
    assert found["mermaid"].startswith("flowchart")
    picture = await alice.get(f"{path}/graph.svg")
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert ElementTree.fromstring(picture.content).tag.endswith("svg")
    for answer in (await bob.get(path), await bob.delete(path), await bob.get(f"{path}/graph.svg")):
        problem_of(answer, 404, code="plan_not_found")
    listed = (await alice.get("/v1/plans", params={"limit": 1})).json()
    assert [one["plan_id"] for one in listed["plans"]] == [made["plan_id"]]
    assert (await bob.get("/v1/plans")).json() == {"plans": [], "next_cursor": ""}
    cancelled = (await alice.delete(path)).json()
    # Nobody runs the plan graph here.
    assert (cancelled["plan_id"], cancelled["state"]) == (made["plan_id"], "running")


async def test_a_dry_run_stores_nothing(still: Hae) -> None:
    alice = as_(still, "alice")
    before = await still.contents()
    answer = await alice.post("/v1/plans", json=changed(dry_run=True, budget_hyper="0.11", redundancy=3))
    assert answer.status_code == 200
    told = answer.json()
    assert (told["plan_id"], told["dry_run"], told["units_total"], told["worst_case_hyper"]) == (
        "",
        True,
        4,
        "0.400000008",
    )
    assert "budget_hyper" in told["next_action"]
    assert await still.contents() == before


@pytest.mark.parametrize(
    ("changes", "status", "code", "field"),
    [
        ({"task0__after": ["join"]}, 422, "cyclic_plan", "tasks"),
        ({"task1__after": ["nowhere"]}, 422, "unknown_reference", "tasks.join.after"),
        ({"task1__for_each_of": "nowhere"}, 422, "unknown_reference", "tasks.join"),
        ({"task0__for_each": [0] * 9999}, None, "", ""),
        ({"task0__for_each": [0] * 10_000}, 422, "plan_too_large", "tasks"),
        ({"task0__for_each": [0] * 10_001}, 422, "invalid_input", "tasks[0].for_each"),
        ({"raise_step_hyper": "-0.1"}, 422, "invalid_input", "raise_step_hyper"),
        ({"raise_step_hyper": 1}, 422, "invalid_input", "raise_step_hyper"),
        ({"budget_hyper": "0.01"}, 402, "budget_exceeded", "budget_hyper"),
        ({"budget_hyper": None}, 422, "invalid_input", "budget_hyper"),
        ({"parallelism": 0}, 422, "invalid_input", "parallelism"),
        ({"tasks": []}, 422, "invalid_input", "tasks"),
        ({"surprise": 1}, 422, "invalid_input", "surprise"),
    ],
)
async def test_what_cannot_work_is_refused_and_nothing_is_stored(
    still: Hae, changes: dict[str, Any], status: int | None, code: str, field: str
) -> None:
    alice = as_(still, "alice")
    before = await still.contents()
    body = changed(**changes)
    for answer in (await alice.post("/v1/plans", json=body), await alice.post("/v1/tools/submit_plan", json=body)):
        if not code:
            assert answer.is_success, answer.text[:500]
            continue
        problem = problem_of(answer, status or answer.status_code, code=code)
        assert answer.status_code < 500
        assert problem["field"] == field
    if code:
        assert await still.contents() == before


async def test_a_missing_argument_is_named_with_a_valid_example(still: Hae) -> None:
    told = problem_of(await as_(still, "alice").post("/v1/tools/cancel_plan", json={}), 422, code="invalid_input")
    assert told["field"] == "plan_id"
    assert "plan_01" in told["next_action"]
    told = problem_of(await as_(still, "alice").post("/v1/tools/submit_plan", json={"tasks": []}), 422)
    assert "budget_hyper" in told["next_action"]
    assert (await as_(still, "alice").post("/v1/tools/submit_plan", json=PLANNED)).is_success


async def test_answers_tell_what_is_left_of_the_days_cap(still: Hae) -> None:
    _, key = await keys.create(still.engine.db, "capped plans", ["agent"], rights=Rights(cap_day=5 * UNIT))
    capped = still.client(key)
    told = (await capped.post("/v1/plans", json=changed(dry_run=True))).json()
    assert told["budget_remaining_hyper"] == "5"
    assert (await capped.post("/v1/plans", json=changed())).json()["budget_remaining_hyper"] == "5"
    uncapped = (await as_(still, "alice").post("/v1/plans", json=changed(dry_run=True))).json()
    assert uncapped["budget_remaining_hyper"] == ""
