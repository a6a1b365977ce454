"""Tools as models see them: plain schemas, examples that hold, refusals that help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from app.core.errors import InvalidInput, NotFound
from app.matchmaker.policy import POLICIES
from tests.support.json_schema import faults
from tools.registry import TOOLS, Tool, describe, get_tool
from tools.schemas import Match, PolicyName, SubmitJob

each_tool = pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        schema = list(schema.values())
    if isinstance(schema, list):
        for one in schema:
            yield from nodes(one)


def test_the_tools_that_agents_know_are_there() -> None:
    assert set(TOOLS) == {
        "submit_job", "submit_jobs", "get_job", "list_jobs", "wait_job", "watch_job", "job_history", "cancel_job",
        "cancel_jobs", "rerun_job", "match", "availability", "quote", "get_budget", "network_metrics",
        "create_schedule", "list_schedules", "change_schedule", "delete_schedule",
        "submit_plan", "get_plan", "list_plans", "cancel_plan",
    }  # fmt: skip


@each_tool
def test_the_example_holds_against_the_schema_and_the_type(tool: Tool) -> None:
    told = describe(tool)
    assert faults(tool.example, told["input_schema"]) == []
    parsed = tool.parse(tool.example)
    assert isinstance(parsed, tool.input)
    assert tool.parse(parsed) is parsed
    assert faults(msgspec.to_builtins(parsed), told["input_schema"]) == []


@each_tool
def test_schemas_are_plain(tool: Tool) -> None:
    told = describe(tool)
    for schema in (told["input_schema"], told["output_schema"]):
        assert schema["type"] == "object"
        for node in nodes(schema):
            assert "$ref" not in node
            assert "anyOf" not in node
            assert "oneOf" not in node
    assert all(node.get("default", "") is not None for node in nodes(told["input_schema"]))
    assert told["input_schema"]["additionalProperties"] is False
    for name, item in told["input_schema"]["properties"].items():
        assert item.get("description"), name
        assert item.get("type") or "enum" in item, name


IMPERATIVES = {
    "Submit", "Read", "List", "Wait", "Watch", "Tell", "Cancel", "Run", "Show", "Count", "Estimate", "Change", "End",
}  # fmt: skip
KNOWN_CAPITALS = {"GPU", "GPUs", "API", "HYPER", "UTC", "JSON", "VRAM", "GB", "IANA", "RFC"}
"""Abbreviations that need no explanation, or are the network's own."""


@each_tool
def test_descriptions_tell_a_model_what_it_has_to_know(tool: Tool) -> None:
    told = tool.description
    assert 60 <= len(told) <= 400
    assert told.endswith(".") and "`" not in told and "  " not in told
    first, *rest = re.split(r"(?<=[.:;]) ", told)
    assert first.split()[0] in IMPERATIVES, "the first sentence says in the imperative what it does"
    assert 4 <= len(first.split()) <= 30
    assert re.search(r"\b[Rr]eturns?\b", " ".join(rest)), "it says what comes back"
    assert set(re.findall(r"\b[A-Z]{2,}s?\b", told)) <= KNOWN_CAPITALS
    # Names of tools and arguments are spelt as they are called.
    for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", told):
        assert word in TOOLS or word in all_names(), word


@each_tool
def test_descriptions_name_the_tool_to_call_next(tool: Tool) -> None:
    following = {
        "submit_job": "wait_job", "submit_jobs": "wait_job", "rerun_job": "wait_job", "get_job": "wait_job",
        "list_jobs": "get_job", "wait_job": "wait_job", "watch_job": "wait_job", "cancel_job": "wait_job",
        "match": "submit_job", "quote": "submit_job", "availability": "quote", "create_schedule": "list_schedules",
        "delete_schedule": "cancel_jobs", "submit_plan": "get_plan", "get_plan": "get_plan", "list_plans": "get_plan",
        "cancel_plan": "get_plan",
    }  # fmt: skip
    if tool.name in following:
        assert following[tool.name] in tool.description


def all_names() -> set[str]:
    """The names of all fields that tools take or give."""
    return {
        name
        for tool in TOOLS.values()
        for schema in (tool.input_schema, tool.output_schema)
        for node in nodes(schema)
        for name in (node.get("properties") or {})
    }


UNITS = ("_s", "_ms", "_gb", "_hyper")
COUNTS = {
    "gpus", "priority", "limit", "min_reputation", "max_retries", "max_attempts", "max_tries", "seen_version",
    "redundancy", "parallelism",
}  # fmt: skip


@each_tool
def test_fields_are_described_have_units_and_few_choices(tool: Tool) -> None:
    for node in nodes(tool.input_schema):
        for name, field in (node.get("properties") or {}).items():
            assert 8 <= len(field.get("description", "")) <= 250, name
            assert "type" in field or tool.name == "submit_plan", name
            if field.get("type") in ("integer", "number"):
                assert name.endswith(UNITS) or name in COUNTS, name
                assert {"minimum", "maximum"} <= set(field), name
            if field.get("type") == "string":
                assert {"maxLength", "enum"} & set(field), name
            if "default" in field:
                assert field["default"] is not None, name
        assert len(node.get("enum") or ()) <= 12


NESTED = {"submit_jobs", "submit_plan", "create_schedule", "change_schedule", "cancel_jobs"}
"""Tools whose inputs hold jobs, tasks or conditions; all others are flat."""


@each_tool
def test_inputs_are_flat_but_for_jobs_tasks_and_conditions(tool: Tool) -> None:
    deep = [
        name
        for name, field in tool.input_schema["properties"].items()
        if field.get("type") == "object" or field.get("items", {}).get("type") in ("object", "array")
    ]
    assert deep == ["input"] if tool.name == "submit_job" else bool(deep) == (tool.name in NESTED)


def test_the_schema_names_the_policies_and_takes_others_that_may_be_installed() -> None:
    info = msgspec.json.schema(PolicyName)
    assert f": {', '.join(POLICIES)}, or" in info["description"]
    for name in ("", *POLICIES, "somebodys_own"):
        assert msgspec.convert({"policy": name}, Match).policy == name
    for name in ("a policy", "x" * 41, "günstig"):
        with pytest.raises(InvalidInput):
            TOOLS["match"].parse({"policy": name})


def test_an_explained_match_names_what_to_change_as_the_input_does() -> None:
    answer = describe(TOOLS["match"])["output_schema"]["properties"]["relaxations"]["items"]
    assert list(answer["properties"]) == ["requirement", "from", "to", "nodes", "text"]
    assert "max_price_per_gpu_hour_hyper" in Match.__struct_fields__


@pytest.mark.parametrize(
    ("name", "arguments", "field", "words"),
    [
        ("submit_job", {}, "type", "required field `type`"),
        ("submit_job", {"type": "render", "colour": 1}, "colour", "gpu_models"),
        ("submit_job", {"type": "mining"}, "type", "one of llm_inference, llm_fine_tuning"),
        ("submit_job", {"type": "render", "capabilities": ["fly"]}, "capabilities[0]", "one of cpu_compute"),
        ("submit_job", {"type": "render", "gpus": "2"}, "gpus", "Expected `int`"),
        ("match", {"region": "XX"}, "region", "one of AF, AS"),
        ("network_metrics", {"a": 1}, "a", "no arguments"),
        ("get_job", [], "", "Expected `object`"),
        ("get_job", None, "", "Expected `object`"),
    ],
)
def test_wrong_arguments_are_told_with_what_would_be_right(name: str, arguments: Any, field: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        TOOLS[name].parse(arguments)
    assert caught.value.field == field
    assert words in caught.value.detail
    assert caught.value.next_action.startswith("A valid call: {")


def test_an_unknown_tool_is_told_with_those_there_are() -> None:
    with pytest.raises(NotFound) as caught:
        get_tool("mine" * 100)
    assert "submit_job" in caught.value.next_action
    assert len(caught.value.detail) < 100


def test_inputs_need_nothing_but_what_only_the_caller_knows() -> None:
    assert describe(TOOLS["submit_job"])["input_schema"]["required"] == ["type"]
    assert msgspec.convert({}, Match) == Match()
    assert SubmitJob.__struct_config__.forbid_unknown_fields
