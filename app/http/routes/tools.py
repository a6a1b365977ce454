"""Tool calling for agents: list the tools, call one."""

from typing import Annotated, Any

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody

from app.core.access import Principal, Scope
from app.http.engine import Engine
from app.http.security import scoped
from tools.registry import TOOLS, describe


@get("/v1/tools", operation_id="list_tools", tags=["tools"])
async def list_tools(engine: NamedDependency[Engine]) -> dict[str, Any]:
    """Every tool with its description, its JSON Schemas and a valid example."""
    return {"tools": [describe(tool) for tool in TOOLS.values()]}


@post("/v1/tools/{name:str}", operation_id="call_tool", tags=["tools"], status_code=200)
async def call_tool(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    name: FromPath[str],
    data: JSONBody[dict[str, Any] | None] = None,
    idempotency_key: Annotated[str, HeaderParameter(name="Idempotency-Key", max_length=200)] = "",
) -> Any:
    """Call a tool with its arguments as the JSON body; answers the tool's output, or a problem."""
    arguments = dict(data or {})
    if idempotency_key and name == "submit_job":
        arguments.setdefault("idempotency_key", idempotency_key)
    return await engine.agents.call(principal, name, arguments)


tools_router = Router("/", route_handlers=[list_tools, call_tool], opt=scoped(Scope.AGENT, Scope.OPERATOR))
