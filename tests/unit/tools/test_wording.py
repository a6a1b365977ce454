"""Refusals tell what would have been right there, and not at the top."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import InvalidInput
from tools.registry import TOOLS
from tools.wording import fields_at, with_choices

PLAN: dict[str, Any] = {"budget_hyper": "1", "tasks": [{"task_id": "a", "job": {"type": "render"}}]}


def refusal(tool: str, arguments: dict[str, Any]) -> InvalidInput:
    with pytest.raises(InvalidInput) as told:
        TOOLS[tool].parse(arguments)
    assert told.value.next_action.startswith("A valid call: {")
    return told.value


def test_an_unknown_field_of_a_task_is_told_the_fields_of_tasks() -> None:
    told = refusal("submit_plan", {**PLAN, "tasks": [{**PLAN["tasks"][0], "foreach": ["x"]}]})
    assert told.field == "tasks[0].foreach"
    assert "; it takes task_id, job, " in told.detail and "budget_hyper" not in told.detail
    inner = refusal("submit_plan", {**PLAN, "tasks": [{"task_id": "a", "job": {"type": "render", "gpu": 2}}]})
    assert inner.field == "tasks[0].job.gpu"
    assert "gpus" in inner.detail and "task_id" not in inner.detail


def test_at_the_top_they_are_the_tools_own() -> None:
    told = refusal("network_metrics", {"since": 1})
    assert (told.field, told.detail.endswith("; it takes no arguments")) == ("since", True)
    assert "; it takes task" in refusal("submit_plan", {**PLAN, "tusks": []}).detail


def test_a_wrong_word_is_told_the_words_of_its_place() -> None:
    kind = TOOLS["submit_plan"].input
    job = {"type": "llm"}
    told = refusal("submit_plan", {**PLAN, "tasks": [{"task_id": "a", "job": job}]})
    assert "one of llm_inference, " in told.detail
    other = refusal("submit_plan", {**PLAN, "tasks": [{"task_id": "a", "job": {"type": "render"}, "on_failure": "x"}]})
    assert "one of abort, plan, replace, retry, skip" in other.detail
    assert with_choices("Expected `int`", kind, "tasks") == "Expected `int`"


def test_paths_that_lead_nowhere_have_no_fields() -> None:
    kind = TOOLS["submit_plan"].input
    assert fields_at(kind, "tasks[0].nothing") == ()
    assert fields_at(kind, "budget_hyper") == ()
