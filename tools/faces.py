"""The tools in the forms that others take them in: OpenAI, Anthropic, MCP, and our own.

OpenAI: a function tool of the Chat Completions API, ``strict`` where its Structured Outputs can hold the schema:
https://platform.openai.com/docs/guides/function-calling. Anthropic: a client tool of the Messages API:
https://docs.claude.com/en/docs/agents-and-tools/tool-use. MCP: a Tool of its schema of 2025-11-25.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from app.core.access import Principal
from app.core.errors import InvalidInput
from tools.registry import TOOLS, Tool, callable_by, describe


class ToolHints(msgspec.Struct, kw_only=True):
    """``idempotent``: calling it twice does no more than once. ``scopes``: a key with any of these may call it."""

    read_only: bool
    idempotent: bool
    destructive: bool
    scopes: list[str]


class OwnTool(msgspec.Struct, kw_only=True):
    """A tool, with JSON Schemas (2020-12, no references) of its input and output, and a valid input."""

    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    example: dict[str, Any]
    annotations: ToolHints


class OpenAIFunction(msgspec.Struct, kw_only=True):
    """``strict``: models keep to ``parameters`` exactly; every field is then required, and its description says what
    stands for a field left out."""

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool


class OpenAITool(msgspec.Struct, kw_only=True):
    """An entry of ``tools`` in a request to a Chat Completions API."""

    type: Literal["function"] = "function"
    function: OpenAIFunction


class AnthropicTool(msgspec.Struct, kw_only=True):
    """An entry of ``tools`` in a request to a Messages API."""

    name: str
    description: str
    input_schema: dict[str, Any]


class McpAnnotations(msgspec.Struct, kw_only=True, rename="camel"):
    """Hints for clients; no promise."""

    title: str
    read_only_hint: bool
    destructive_hint: bool
    idempotent_hint: bool
    open_world_hint: bool


class McpTool(msgspec.Struct, kw_only=True, rename="camel"):
    """A tool as ``tools/list`` of the Model Context Protocol shows it."""

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    annotations: McpAnnotations


class OwnTools(msgspec.Struct, kw_only=True):
    """Tools in our own form."""

    tools: list[OwnTool]


class OpenAITools(msgspec.Struct, kw_only=True):
    """Tools for an OpenAI-compatible API."""

    tools: list[OpenAITool]


class AnthropicTools(msgspec.Struct, kw_only=True):
    """Tools for Anthropic's API."""

    tools: list[AnthropicTool]


class McpTools(msgspec.Struct, kw_only=True):
    """Tools as an MCP server lists them."""

    tools: list[McpTool]


def as_own(tool: Tool) -> OwnTool:
    """The tool in our own form."""
    return msgspec.convert(describe(tool), OwnTool)


def as_openai(tool: Tool) -> OpenAITool:
    """The tool for OpenAI-compatible APIs."""
    strict = _strict(tool.input_schema)
    return OpenAITool(
        function=OpenAIFunction(
            name=tool.name,
            description=tool.description,
            parameters=tool.input_schema if strict is None else strict,
            strict=strict is not None,
        )
    )


def as_anthropic(tool: Tool) -> AnthropicTool:
    """The tool for Anthropic's API."""
    return AnthropicTool(name=tool.name, description=tool.description, input_schema=tool.input_schema)


def as_mcp(tool: Tool) -> McpTool:
    """The tool as MCP servers list it."""
    return McpTool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=McpAnnotations(
            title=tool.title,
            read_only_hint=tool.read_only,
            destructive_hint=tool.destructive,
            idempotent_hint=tool.idempotent,
            open_world_hint=tool.open_world,
        ),
    )


_FORMS: dict[str, tuple[Callable[[Tool], Any], Callable[..., Any]]] = {
    "": (as_own, OwnTools),
    "openai": (as_openai, OpenAITools),
    "anthropic": (as_anthropic, AnthropicTools),
    "mcp": (as_mcp, McpTools),
}
FORMATS = tuple(name for name in _FORMS if name)


def listed(principal: Principal, form: str) -> OwnTools | OpenAITools | AnthropicTools | McpTools:
    """The tools that the caller may call, in a form of FORMATS, or in our own for the empty name.

    Raises InvalidInput that lists the forms there are.
    """
    if form not in _FORMS:
        known = ", ".join(FORMATS)
        raise InvalidInput(
            f"there is no format {form[:40]!r}; known are {known}, and without a format our own",
            field="format",
            next_action="Send GET /v1/tools?format=openai, or leave format out.",
        )
    if form not in _made:
        one = _FORMS[form][0]
        _made[form] = {tool.name: one(tool) for tool in TOOLS.values()}
    answer: OwnTools | OpenAITools | AnthropicTools | McpTools = _FORMS[form][1](
        tools=[_made[form][tool.name] for tool in callable_by(principal)]
    )
    return answer


_made: dict[str, dict[str, Any]] = {}
"""By form, then tool: they never change while a process runs."""

_NOT_STRICT = ("default", "minLength", "maxLength", "pattern", "examples", "title")
"""Keywords that Structured Outputs does not take, or not in every spelling, and titles, which say nothing."""


def _strict(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema as Structured Outputs takes it, None where it cannot hold it: free-form values, or fields that mean
    something by being left out.

    Every field is required there: those with a default say in their descriptions what it is.
    """
    node = {name: value for name, value in copy.deepcopy(schema).items() if name not in _NOT_STRICT}
    kind = node.get("type")
    if kind == "object":
        if node.get("additionalProperties") is not False:
            return None
        given = node.get("properties", {})
        needed = set(node.get("required", ()))
        if any(name not in needed and not _has_default(one) for name, one in given.items()):
            return None
        fields = {name: _strict(_with_default(one)) for name, one in given.items()}
        if None in fields.values():
            return None
        return {**node, "properties": fields, "required": list(fields)}
    if kind == "array":
        items = _strict(node.get("items", {}))
        return None if items is None else {**node, "items": items}
    return node if kind in ("string", "integer", "number", "boolean") else None


def _has_default(field: dict[str, Any]) -> bool:
    # An object that needs nothing: all its fields have their defaults.
    return "default" in field or (field.get("type") == "object" and not field.get("required"))


def _with_default(field: dict[str, Any]) -> dict[str, Any]:
    if "default" not in field:
        return field
    default = msgspec.json.encode(field["default"]).decode()
    return {**field, "description": f"{field.get('description', '')}. Send {default} to leave it open".lstrip(". ")}
