"""Tools over MCP: what ``tools/list`` shows and what ``tools/call`` answers.

Whatever goes wrong with a call is a result with ``isError`` and the problem document, never a JSON-RPC error: models
read results, and clients end the turn on errors. A result is one JSON object, as the only text block and as structured
content.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

import mcp_types as types
import msgspec
from mcp.server import Server
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from app.core.errors import InvalidInput
from app.http.mcp.caller import caller_of
from app.http.mcp.progress import reporting
from app.http.problems import Problem, problem_from
from tools.faces import as_mcp
from tools.registry import TOOLS, Tool, callable_by, get_tool
from tools.tool import inlined_schema

log = logging.getLogger(__name__)

Context = ServerRequestContext[Any, Any]


async def list_tools(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    """The tools that the caller's key may call."""
    caller = caller_of(ctx)
    return types.ListToolsResult(tools=[_shown(tool.name) for tool in callable_by(caller.principal)])


@cache
def _shown(name: str) -> types.Tool:
    """The tool as MCP lists it. Clients hold errors, too, against the output schema: it admits the problem document."""
    shown: dict[str, Any] = msgspec.to_builtins(as_mcp(TOOLS[name]))
    shown["outputSchema"] = {"type": "object", "anyOf": [shown["outputSchema"], inlined_schema(Problem)]}
    return types.Tool.model_validate(shown, by_name=False)


class CallTool:
    """The middleware that answers ``tools/call`` itself: its arguments need no second reading, nor its results."""

    def __init__(self, server: Server[Any]) -> None:
        self._server = server

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """The result of the call; of other methods, what the server makes of them."""
        if ctx.method != "tools/call" or ctx.request_id is None:
            return await call_next(ctx)
        try:
            told, failed = await _called(ctx, ctx.params or {}), False
        except Exception as error:
            told, failed = _problem(error), True
        result = _result(told, failed)
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            result |= {"resultType": "complete", "_meta": {types.SERVER_INFO_META_KEY: self._server.server_info_stamp}}
        return result


async def _called(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    caller = caller_of(ctx)
    name = params.get("name")
    if not isinstance(name, str):
        raise InvalidInput(
            "params.name must be the name of a tool",
            field="name",
            next_action='Send params such as {"name": "network_metrics", "arguments": {}}.',
        )
    tool = get_tool(name)
    arguments = _arguments(tool, params.get("arguments"))
    async with reporting(ctx, tool, arguments):
        answer = await caller.engine.agents.call(caller.principal, name, arguments)
    told: dict[str, Any] = msgspec.to_builtins(answer)
    return told


def _arguments(tool: Tool, given: Any) -> dict[str, Any]:
    """The arguments without leftovers: some clients mix in those of their call before.

    A name that no tool knows is left for the tool to refuse: it is a misspelling, and what it asks for must not be
    dropped in silence.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InvalidInput(
            f"{tool.name}: arguments must be an object",
            field="arguments",
            next_action=tool.advice,
        )
    own = tool.input.__struct_fields__
    return {name: value for name, value in given.items() if name in own or name not in _all_fields()}


@cache
def _all_fields() -> frozenset[str]:
    return frozenset(name for tool in TOOLS.values() for name in tool.input.__struct_fields__)


def refused(error: Exception) -> dict[str, Any]:
    """The result of a call whose arguments hold what no request may hold."""
    told = _problem(error)
    told["field"] = told.get("field", "").removeprefix("params.").removeprefix("arguments.")
    return _result(told, failed=True)


def _result(told: dict[str, Any], failed: bool) -> dict[str, Any]:
    text = msgspec.json.encode(told).decode()
    return {"content": [{"type": "text", "text": text}], "structuredContent": told, "isError": failed}


def _problem(error: Exception) -> dict[str, Any]:
    document = problem_from(error)
    if document.status == 500:
        log.error("an MCP call failed, reference %s", document.reference, exc_info=error)
    told: dict[str, Any] = msgspec.to_builtins(document)
    return told
