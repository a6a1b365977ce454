"""The tools in the forms of others, held against the rules that those publish."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import mcp.types
import msgspec
import pytest

from app.core.access import Principal, Rights, Scope
from app.core.errors import InvalidInput
from tests.support.json_schema import faults
from tools.faces import FORMATS, as_anthropic, as_mcp, as_openai, as_own, listed
from tools.registry import TOOLS, Tool, callable_by

each_tool = pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
AGENT = frozenset({Scope.AGENT.value})
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What both OpenAI and Anthropic take."""

STRICT_KEYWORDS = {
    "type", "description", "properties", "required", "additionalProperties", "items", "enum", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems",
}  # fmt: skip
"""A subset of what Structured Outputs supports."""


def schemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema, and those of all its fields and items."""
    yield schema
    for one in schema.get("properties", {}).values():
        yield from schemas(one)
    if "items" in schema:
        yield from schemas(schema["items"])


def depth(schema: dict[str, Any]) -> int:
    below = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return 1 + max((depth(one) for one in below), default=0)


@each_tool
def test_openai_takes_it(tool: Tool) -> None:
    told = msgspec.to_builtins(as_openai(tool))
    assert set(told) == {"type", "function"} and told["type"] == "function"
    function = told["function"]
    assert set(function) == {"name", "description", "parameters", "strict"}
    assert NAME.fullmatch(function["name"]) and len(function["description"]) <= 1024
    assert function["parameters"]["type"] == "object"
    if not function["strict"]:
        assert function["parameters"] == tool.input_schema
        return
    nodes = list(schemas(function["parameters"]))
    for node in nodes:
        assert set(node) <= STRICT_KEYWORDS
        assert node["type"] in ("object", "array", "string", "integer", "number", "boolean")
        if node["type"] == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])
    assert depth(function["parameters"]) <= 10
    assert sum(len(node.get("properties", ())) for node in nodes) <= 100
    assert sum(len(node.get("enum", ())) for node in nodes) <= 1000


@each_tool
def test_what_a_strict_model_sends_is_what_the_tool_takes(tool: Tool) -> None:
    """Every field at its default, as the descriptions tell it to send, besides those that the example gives."""
    function = as_openai(tool).function
    if not function.strict:
        return
    plain = msgspec.to_builtins(tool.parse(tool.example))
    assert faults(plain, function.parameters) == []
    assert list(plain) == list(function.parameters["required"])
    assert tool.parse(plain) == tool.parse(tool.example)
    for name, field in function.parameters["properties"].items():
        if name not in tool.input_schema["required"]:
            default = msgspec.json.encode(msgspec.to_builtins(getattr(tool.parse(tool.example), name)))
            if name not in tool.example:
                assert f"Send {default.decode()} to leave it open" in field["description"]


def test_strict_is_kept_where_the_schema_can_be_held() -> None:
    strict = {name for name, tool in TOOLS.items() if as_openai(tool).function.strict}
    assert {"get_job", "wait_job", "cancel_job", "cancel_jobs", "match", "quote", "availability", "list_jobs"} <= strict
    # Free-form inputs, and fields that mean something by being left out.
    assert not strict & {"submit_job", "submit_jobs", "submit_plan", "create_schedule", "change_schedule"}


@each_tool
def test_anthropic_takes_it(tool: Tool) -> None:
    told = msgspec.to_builtins(as_anthropic(tool))
    assert set(told) == {"name", "description", "input_schema"}
    assert NAME.fullmatch(told["name"])
    assert told["input_schema"]["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf"} & set(told["input_schema"])


@each_tool
def test_mcp_takes_it(tool: Tool) -> None:
    told = msgspec.to_builtins(as_mcp(tool))
    read = mcp.types.Tool.model_validate(told)
    assert read.model_dump(by_alias=True, exclude_none=True) == told
    assert set(told) == {"name", "title", "description", "inputSchema", "outputSchema", "annotations"}
    hints = told["annotations"]
    assert hints["readOnlyHint"] is tool.read_only and hints["destructiveHint"] is tool.destructive
    assert hints["idempotentHint"] is tool.idempotent and hints["openWorldHint"] is tool.open_world
    assert told["title"] == hints["title"] and told["title"][0].isupper()


@each_tool
def test_hints_agree_with_each_other(tool: Tool) -> None:
    if tool.read_only:
        assert tool.idempotent and not tool.destructive and not tool.open_world
    if tool.destructive:
        assert re.search(r"cancel|delete", tool.name)
    if tool.open_world or tool.keyed:
        assert not tool.idempotent


def test_only_what_the_key_may_call_is_listed() -> None:
    bounded = Principal("k", "a", AGENT, Rights(tools=frozenset({"get_job", "quote", "tool_of_tomorrow"})))
    for form in ("", *FORMATS):
        tools = msgspec.to_builtins(listed(bounded, form))["tools"]
        names = [tool["function"]["name"] if form == "openai" else tool["name"] for tool in tools]
        assert names == ["get_job", "quote"]
    assert [tool.name for tool in callable_by(Principal("k", "a", AGENT))] == list(TOOLS)
    assert callable_by(Principal("k", "a", frozenset({Scope.NODE.value}))) == []


def test_our_own_form_shows_examples() -> None:
    told = as_own(TOOLS["quote"])
    assert told.example == TOOLS["quote"].example
    assert told.annotations.scopes == ["agent", "operator"]


@pytest.mark.parametrize("form", ["OpenAI", "gemini", " ", "x" * 40])
def test_an_unknown_form_is_told_with_those_there_are(form: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        listed(Principal("k", "a", AGENT), form)
    assert refused.value.field == "format"
    assert all(name in refused.value.detail for name in FORMATS)
    assert "?format=openai" in refused.value.next_action
