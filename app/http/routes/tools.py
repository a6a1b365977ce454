"""Tool calling for agents: list the tools, in the form that their models take, and call one."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from app.core.access import Principal, Scope
from app.http.engine import Engine
from app.http.routes.jobs import IdempotencyKey, same_key
from app.http.security import scoped
from tools.faces import AnthropicTools, McpTools, OpenAITools, OwnTools, listed
from tools.registry import TOOLS

if TYPE_CHECKING:
    ToolOutput = Any
else:
    # For the OpenAPI document: the output of any of the tools.
    ToolOutput = reduce(or_, dict.fromkeys(tool.output for tool in TOOLS.values()))


@get("/v1/tools", operation_id="list_tools")
async def list_tools(
    principal: NamedDependency[Principal],
    form: Annotated[
        str,
        QueryParameter(
            name="format",
            max_length=40,
            description="openai, anthropic or mcp: as requests to models of that kind take them; without it, own form",
        ),
    ] = "",
) -> OwnTools | OpenAITools | AnthropicTools | McpTools:
    """The tools that your key may call, with their descriptions and JSON Schemas; in our own form with examples too."""
    return listed(principal, form)


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
    if idempotency_key and name in TOOLS:
        if TOOLS[name].keyed:
            arguments["idempotency_key"] = same_key(arguments.get("idempotency_key", ""), idempotency_key)
        elif name == "submit_jobs" and isinstance(arguments.get("jobs"), list):
            arguments["jobs"] = [
                {"idempotency_key": f"{idempotency_key}/{index}", **one} if isinstance(one, dict) else one
                for index, one in enumerate(arguments["jobs"])
            ]
    answer: ToolOutput = await engine.agents.call(principal, name, arguments)
    return answer


tools_router = Router(
    "/", route_handlers=[list_tools, call_tool], tags=["tools"], opt=scoped(Scope.AGENT, Scope.OPERATOR)
)
