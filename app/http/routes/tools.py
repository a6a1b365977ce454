"""Tool calling for agents: list the tools, call one."""

from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.core.access import Principal, Scope
from app.core.errors import InvalidInput
from app.http.engine import Engine
from app.http.routes.jobs import IdempotencyKey
from app.http.security import scoped
from tools.registry import TOOLS, describe
from tools.schemas import AvailabilityAnswer, JobAnswer, MatchAnswer, MetricsAnswer, QuoteAnswer, SubmitAnswer


class ToolHints(msgspec.Struct, kw_only=True):
    """``idempotent``: calling it twice does no more than once. ``scopes``: a key with any of these may call it."""

    read_only: bool
    idempotent: bool
    destructive: bool
    scopes: list[str]


class ToolAnswer(msgspec.Struct, kw_only=True):
    """A tool, with JSON Schemas (2020-12, no references) of its input and output, and a valid input."""

    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    example: dict[str, Any]
    annotations: ToolHints


class ToolsAnswer(msgspec.Struct, kw_only=True):
    tools: list[ToolAnswer]


@get("/v1/tools", operation_id="list_tools")
async def list_tools() -> ToolsAnswer:
    """Every tool with its description, its JSON Schemas and a valid example."""
    return _LISTED


@post("/v1/tools/{name:str}", operation_id="call_tool", status_code=200)
async def call_tool(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    name: FromPath[str],
    data: JSONBody[dict[str, Any] | None] = None,
    idempotency_key: IdempotencyKey = "",
) -> SubmitAnswer | JobAnswer | MatchAnswer | AvailabilityAnswer | QuoteAnswer | MetricsAnswer:
    """Call a tool with its arguments as the JSON body; answers the tool's output, or a problem."""
    arguments = dict(data or {})
    if idempotency_key and name == "submit_job":
        if arguments.get("idempotency_key", "") not in ("", idempotency_key):
            raise InvalidInput("the header Idempotency-Key and idempotency_key differ", field="idempotency_key")
        arguments["idempotency_key"] = idempotency_key
    answer: SubmitAnswer | JobAnswer | MatchAnswer | AvailabilityAnswer | QuoteAnswer | MetricsAnswer
    answer = await engine.agents.call(principal, name, arguments)
    return answer


_LISTED = ToolsAnswer(tools=[msgspec.convert(describe(tool), ToolAnswer) for tool in TOOLS.values()])

tools_router = Router(
    "/", route_handlers=[list_tools, call_tool], tags=["tools"], opt=scoped(Scope.AGENT, Scope.OPERATOR)
)
