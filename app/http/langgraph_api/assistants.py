"""The one assistant: the agent graph, which makes calls of tools. And what a client asks about the server."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from litestar import Router, get, post
from litestar.params import FromPath, JSONBody

from app.core.access import Scope
from app.core.errors import NotFound
from app.http.langgraph_api.answers import ASSISTANT, GRAPH, picked
from app.http.langgraph_api.bodies import CountAssistants, SearchAssistants
from app.http.langgraph_api.inputs import EXAMPLE, MOST_CALLS
from app.http.security import PUBLIC, scoped
from graphs.drawing import edges

_CREATED = "2026-01-01T00:00:00.000Z"
_CALL: dict[str, Any] = {
    "type": "object",
    "required": ["tool"],
    "properties": {"tool": {"type": "string"}, "arguments": {"type": "object"}, "id": {"type": "string"}},
}
_INPUT: dict[str, Any] = {
    "oneOf": [
        {**_CALL, "properties": {"tool": {"type": "string"}, "arguments": {"type": "object"}}},
        {
            "type": "object",
            "required": ["calls"],
            "properties": {"calls": {"type": "array", "items": _CALL, "minItems": 1, "maxItems": MOST_CALLS}},
        },
        {
            "type": "object",
            "required": ["messages"],
            "properties": {"messages": {"type": "array", "items": {"type": "object"}, "minItems": 1}},
        },
    ],
    "examples": [EXAMPLE],
}
_OUTPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "calls": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "tool": {"type": "string"},
                    "arguments": {"type": "object"},
                    "status": {"enum": ["waiting", "done", "failed"]},
                    "result": {"type": ["object", "null"]},
                    "problem": {"type": ["object", "null"]},
                },
            },
        },
        "messages": {"type": "array", "items": {"type": "object"}},
    },
}


@get("/ok", operation_id="langgraph_ok", opt=PUBLIC)
async def ok() -> dict[str, bool]:
    """The server answers."""
    return {"ok": True}


@get("/info", operation_id="langgraph_info", opt=PUBLIC)
async def info() -> dict[str, Any]:
    """Which parts of the API there are."""
    return {
        "version": metadata.version("hypernode-automation-engine"),
        "flags": {"assistants": True, "crons": False, "store": False, "langsmith": False},
        "strict_resume": False,
    }


@get("/assistants/{assistant_id:str}", operation_id="langgraph_assistant")
async def read(assistant_id: FromPath[str]) -> dict[str, Any]:
    """The assistant."""
    return assistant(assistant_id)


@get("/assistants/{assistant_id:str}/graph", operation_id="langgraph_assistant_graph")
async def graph(assistant_id: FromPath[str]) -> dict[str, Any]:
    """Nodes and edges of the agent graph."""
    assistant(assistant_id)
    pairs = sorted(edges(GRAPH))
    nodes = sorted({node for pair in pairs for node in pair})
    return {
        "nodes": [{"id": node, "type": "runnable", "data": {"id": node, "name": node}} for node in nodes],
        "edges": [{"source": source, "target": target} for source, target in pairs],
    }


@get("/assistants/{assistant_id:str}/schemas", operation_id="langgraph_assistant_schemas")
async def schemas(assistant_id: FromPath[str]) -> dict[str, Any]:
    """JSON Schemas of what a run takes and gives. What each tool takes is told by ``GET /v1/tools``."""
    assistant(assistant_id)
    return {
        "graph_id": GRAPH,
        "input_schema": _INPUT,
        "output_schema": _OUTPUT,
        "state_schema": _OUTPUT,
        "config_schema": {"type": "object", "properties": {}},
        "context_schema": None,
    }


@get("/assistants/{assistant_id:str}/subgraphs", operation_id="langgraph_assistant_subgraphs")
async def subgraphs(assistant_id: FromPath[str]) -> dict[str, Any]:
    """There are none."""
    assistant(assistant_id)
    return {}


@post("/assistants/search", operation_id="langgraph_search_assistants", status_code=200)
async def search(data: JSONBody[SearchAssistants]) -> list[dict[str, Any]]:
    """The assistant, where it is meant."""
    found = [assistant(GRAPH)] if _meant(data) else []
    return [picked(one, data.select) for one in found[data.offset : data.offset + data.limit]]


@post("/assistants/count", operation_id="langgraph_count_assistants", status_code=200)
async def count(data: JSONBody[CountAssistants]) -> int:
    """How many assistants a search finds."""
    return int(_meant(data))


def assistant(assistant_id: str) -> dict[str, Any]:
    """The assistant as the SDK reads it. Raises NotFound for another id than its own and its graph's name."""
    if assistant_id not in (GRAPH, ASSISTANT):
        raise NotFound(
            f"there is no assistant {assistant_id[:60]!r}",
            code="assistant_not_found",
            field="assistant_id",
            next_action=f'There is one: "assistant_id": "{GRAPH}".',
        )
    return {
        "assistant_id": ASSISTANT,
        "graph_id": GRAPH,
        "name": GRAPH,
        "description": "Makes calls of the engine's tools: submit GPU jobs, follow and cancel them, ask for prices.",
        "config": {},
        "context": {},
        "metadata": {"created_by": "system"},
        "version": 1,
        "created_at": _CREATED,
        "updated_at": _CREATED,
    }


def _meant(wanted: SearchAssistants | CountAssistants) -> bool:
    known = {"created_by": "system"}
    return (
        wanted.graph_id in (None, GRAPH)
        and (wanted.name is None or wanted.name.lower() in GRAPH)
        and all(known.get(name) == value for name, value in wanted.metadata.items())
    )


assistants_router = Router(
    "/",
    route_handlers=[ok, info, read, graph, schemas, subgraphs, search, count],
    opt=scoped(Scope.AGENT, Scope.OPERATOR),
    include_in_schema=False,
)
