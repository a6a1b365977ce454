"""Tools as models see them: plain schemas, examples that hold, refusals that help."""

from __future__ import annotations

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
        "submit_job", "match", "availability", "quote", "get_job", "watch_job", "cancel_job", "network_metrics",
        "submit_jobs", "cancel_jobs", "rerun_job", "create_schedule", "list_schedules", "change_schedule",
        "delete_schedule",
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


@each_tool
def test_descriptions_are_sentences_of_a_readable_length(tool: Tool) -> None:
    assert 40 <= len(tool.description) <= 320
    assert tool.description.endswith(".")
    assert "`" not in tool.description


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
