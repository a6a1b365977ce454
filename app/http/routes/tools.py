"""Tool calling for agents: list the tools, call one."""

from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.core.access import Principal, Scope
from app.http.engine import Engine
from app.http.routes.jobs import IdempotencyKey, same_key
from app.http.security import scoped
from tools.many_schemas import (
    CancelJobsAnswer,
    SubmitJobsAnswer,
)
from tools.registry import TOOLS, describe
from tools.schedule_schemas import ScheduleAnswer, ScheduleDeleted, SchedulePage
from tools.schemas import (
    AvailabilityAnswer,
    JobAnswer,
    MatchAnswer,
    MetricsAnswer,
    QuoteAnswer,
    SubmitAnswer,
)

ToolOutput = (
    SubmitAnswer
    | SubmitJobsAnswer
    | JobAnswer
    | CancelJobsAnswer
    | ScheduleAnswer
    | SchedulePage
    | ScheduleDeleted
    | MatchAnswer
    | AvailabilityAnswer
    | QuoteAnswer
    | MetricsAnswer
)
KEYED = frozenset({"submit_job", "rerun_job", "create_schedule"})
"""Tools that take an idempotency key."""


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
) -> ToolOutput:
    """Call a tool with its arguments as the JSON body; answers the tool's output, or a problem."""
    arguments = dict(data or {})
    if idempotency_key and name in KEYED:
        arguments["idempotency_key"] = same_key(arguments.get("idempotency_key", ""), idempotency_key)
    if idempotency_key and name == "submit_jobs" and isinstance(arguments.get("jobs"), list):
        arguments["jobs"] = [
            {"idempotency_key": f"{idempotency_key}/{index}", **one} if isinstance(one, dict) else one
            for index, one in enumerate(arguments["jobs"])
        ]
    answer: ToolOutput = await engine.agents.call(principal, name, arguments)
    return answer


_LISTED = ToolsAnswer(tools=[msgspec.convert(describe(tool), ToolAnswer) for tool in TOOLS.values()])

tools_router = Router(
    "/", route_handlers=[list_tools, call_tool], tags=["tools"], opt=scoped(Scope.AGENT, Scope.OPERATOR)
)
