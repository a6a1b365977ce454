"""The MCP server: one for the whole process, without state; the caller comes with each request."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from app.http.mcp import calling, prompts, resources
from tools.registry import TOOLS

NAME = "hypernode"
_HOUR_MS = 3_600_000
_MINUTE_MS = 60_000
_INSTRUCTIONS = " ".join(
    (
        "Run GPU jobs on the Hypernode network.",
        "submit_job returns a job_id at once; wait_job waits up to 45 seconds for the end and always tells the state:",
        "call it again while final is false.",
        "availability, quote and match spend nothing: ask them first. Prices and costs are HYPER, as decimal strings.",
        "Send an idempotency_key with every submission, so that a repeat makes no second job.",
        "Cancel only a job_id that you were given.",
        "A result with isError is a problem: detail says what is wrong, field where, next_action what to do;",
        "repeat the same call only if retryable is true, after retry_after seconds.",
    )
)


def build() -> Server[Any]:
    """The server with its tools, resources and prompts."""
    server: Server[Any] = Server(
        NAME,
        version=metadata.version("hypernode-automation-engine"),
        title="Hypernode",
        instructions=_INSTRUCTIONS,
        cache_hints={
            "tools/list": CacheHint(_MINUTE_MS, "private"),
            "prompts/list": CacheHint(_HOUR_MS, "public"),
            "resources/list": CacheHint(_HOUR_MS, "public"),
            "resources/templates/list": CacheHint(_HOUR_MS, "public"),
        },
        get_tool_input_schema=lambda name: TOOLS[name].input_schema if name in TOOLS else None,
        on_list_tools=calling.list_tools,
        on_list_resources=resources.list_resources,
        on_list_resource_templates=resources.list_templates,
        on_read_resource=resources.read_resource,
        on_list_prompts=prompts.list_prompts,
        on_get_prompt=prompts.get_prompt,
        on_completion=prompts.complete,
    )
    # Not as an argument: the SDK warns of it, as later revisions have no such method.
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _set_level)
    # In place of the SDK's tracing, which costs and is sent nowhere.
    server.middleware[:] = [calling.CallTool(server)]
    return server


async def _set_level(ctx: ServerRequestContext[Any, Any], params: types.SetLevelRequestParams) -> types.EmptyResult:
    """Take any level: this server sends no log messages, at whichever."""
    return types.EmptyResult()


SERVER = build()
