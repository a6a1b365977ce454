"""Requests for plans: what they come to, and everything that is refused before it is stored."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.access import Principal
from app.core.errors import BudgetExceeded, HaeError, InvalidInput
from app.core.money import UNIT
from app.core.plans import FailurePolicy
from app.settings import JobsSettings
from tools.context import NetworkDefaults
from tools.plan_reading import Reading, read, stored
from tools.plan_schemas import SubmitPlan
from tools.plan_templates import Reference, Unresolvable, fill, references

DEFAULTS = NetworkDefaults(JobsSettings(), "reputation_weighted")
ANYONE = Principal("key_a", "acme", frozenset({"agent"}))


def task(task_id: str, prompt: str = "do it", **more: Any) -> dict[str, Any]:
    job = {"type": "llm_inference", "prompt": prompt, "timeout_s": 60} | more.pop("job", {})
    return {"task_id": task_id, "job": job, **more}


def reading(*tasks: dict[str, Any], **changes: Any) -> Reading:
    asked = {"tasks": list(tasks), "budget_hyper": "1000", "max_price_per_gpu_hour_hyper": "6"} | changes
    return read(DEFAULTS, ANYONE, msgspec.convert(asked, SubmitPlan))


def test_units_are_numbered_dependencies_first() -> None:
    found = reading(
        task("join", "{{tasks.each.results}}"),
        task("each", for_each=["a", "b"]),
        task("more", "{{item}}", for_each_of="each"),
        redundancy=3,
        on_failure="skip",
    ).blueprint
    assert [(one.task_id, one.first, one.units) for one in found.tasks.values()] == [
        ("each", 0, 2),
        ("join", 2, 1),
        ("more", 3, 2),
    ]
    assert found.tasks["join"].after == ("each",)
    assert found.tasks["more"].after == () and found.tasks["more"].each_of == "each"
    assert (found.units, found.jobs) == (5, 15)
    assert found.tasks["each"].policy is FailurePolicy.SKIP
    # A minute at 6 HYPER an hour, three runs of five units.
    assert found.worst_case == 15 * UNIT // 10
    assert [unit.number for unit in found.new_units()] == [0, 1, 2, 3, 4]


def test_a_tasks_own_price_is_its_ceiling() -> None:
    found = reading(task("a", job={"max_price_per_gpu_hour_hyper": "2"}), start_price_per_gpu_hour_hyper="4").blueprint
    assert found.tasks["a"].ceiling == 2 * UNIT
    assert found.opening(found.tasks["a"]) == 2 * UNIT


@pytest.mark.parametrize(
    ("tasks", "changes", "code", "told"),
    [
        ([task("a", after=["b"]), task("b", after=["a"])], {}, "cyclic_plan", "a -> b -> a"),
        ([task("a", "{{tasks.a.results}}")], {}, "cyclic_plan", "a -> a"),
        ([task("a", for_each_of="b"), task("b", after=["a"])], {}, "cyclic_plan", "->"),
        ([task("a", after=["b"])], {}, "unknown_reference", "needs a task b"),
        ([task("a", for_each_of="b")], {}, "unknown_reference", "needs a task b"),
        ([task("a", "{{tasks.b.result}}")], {}, "unknown_reference", "needs a task b"),
        ([task("a", "{{name}}")], {}, "unknown_reference", "no reference {{name}}"),
        ([task("a", job={"input": {"x": ["{{tasks.b}}"]}})], {}, "unknown_reference", "tasks.b"),
        ([task("a", "{{item}}")], {}, "unknown_reference", "needs for_each"),
        ([task("a", for_each=[1]), task("b", "{{tasks.a.result}}")], {}, "unknown_reference", "more than one result"),
        ([task("a"), task("a")], {}, "invalid_input", "two tasks are called a"),
        ([task("a", for_each=[1], for_each_of="b"), task("b")], {}, "invalid_input", "not both"),
        ([task("a", for_each=[0] * 5001)], {"redundancy": 3}, "plan_too_large", "15003 jobs"),
        ([task("a")], {"redundancy": 2}, "invalid_input", "odd"),
        ([task("a")], {"raise_step_hyper": "-1"}, "invalid_input", "raise_step_hyper"),
        ([task("a")], {"raise_step_hyper": "0"}, "invalid_input", "raise_step_hyper"),
        (
            [task("a")],
            {"start_price_per_gpu_hour_hyper": "1", "raise_step_hyper": "0.01"},
            "invalid_input",
            "raised 500 times",
        ),
        ([task("a")], {"start_price_per_gpu_hour_hyper": "7"}, "invalid_input", "above the highest"),
        ([task("a")], {"budget_hyper": "none"}, "invalid_input", "budget_hyper"),
        ([task("a")], {"budget_hyper": "0.05"}, "budget_exceeded", "0.1 HYPER"),
        ([task("a", job={"deadline_s": 5})], {}, "invalid_input", "deadline"),
        ([task("a", job={"policy": "nonsense"})], {}, "invalid_input", "nonsense"),
    ],
)
def test_what_cannot_work_is_refused_and_named(
    tasks: list[dict[str, Any]], changes: dict[str, Any], code: str, told: str
) -> None:
    with pytest.raises(HaeError) as refused:
        reading(*tasks, **changes)
    assert isinstance(refused.value, InvalidInput | BudgetExceeded)
    assert told in refused.value.detail
    assert refused.value.field
    if code != "invalid_input" or "nonsense" not in told:
        assert refused.value.code == code


def test_what_was_stored_reads_as_before() -> None:
    first = reading(task("a", for_each=[{"n": 1}, None]), task("b", "{{tasks.a.results}}"))
    again = read(DEFAULTS, ANYONE, stored(msgspec.to_builtins(first.asked)))
    assert again == first


def test_braces_that_are_never_closed_are_passed_by_at_once() -> None:
    open_ended = "{{" * 50_000
    assert list(references(open_ended, "prompt")) == []
    assert fill(open_ended, lambda reference: 1) == open_ended
    with pytest.raises(InvalidInput, match="no reference"):
        list(references("{{item." + "9" * 5_000 + "}}", "prompt"))


def test_references_become_values() -> None:
    values = {"item": {"n": [1, {"x": "y"}]}, "index": 3, "result": "text", "results": [None, 2]}

    def fill_in(template: Any) -> Any:
        return fill(template, lambda reference: values[reference.of])

    assert fill_in("{{item}}") == values["item"]
    assert fill_in("{{ item.n.1.x }}") == "y"
    assert fill_in("at {{index}}: {{tasks.a.result}} of {{tasks.b.results}}") == "at 3: text of [null,2]"
    assert fill_in({"a": ["{{index}}", 7], "b": r"\{{index}}"}) == {"a": [3, 7], "b": "{{index}}"}
    with pytest.raises(Unresolvable, match="leads nowhere"):
        fill_in("{{item.n.9}}")


TEXTS = st.lists(st.sampled_from(["{{item}}", "{{index.a}}", "{{", "}}", "\\", "a", "{{b}}", "."])).map("".join)


@given(st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_a_template_holds_is_read_or_refused(template: Any) -> None:
    try:
        found = list(references(template, "input"))
    except InvalidInput:
        return
    seen = []

    def value_of(reference: Reference) -> Any:
        seen.append(reference)
        return {"a": "value"} if reference.path else "value"

    filled = fill(template, value_of)
    assert seen == found
    assert isinstance(filled, type(template))
