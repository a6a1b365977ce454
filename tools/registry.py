"""Every tool, defined once: HTTP, OpenAPI, agent plugins and all other faces are made from this table."""

from __future__ import annotations

from typing import Any

from app.core.access import Principal
from app.core.errors import NotFound
from tools.job_table import JOB_TOOLS
from tools.market_table import MARKET_TOOLS
from tools.plan_table import PLAN_TOOLS
from tools.schedule_table import SCHEDULE_TOOLS
from tools.tool import Tool, inlined_schema

__all__ = ["TOOLS", "Tool", "callable_by", "describe", "get_tool", "inlined_schema"]

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (*JOB_TOOLS, *PLAN_TOOLS, *MARKET_TOOLS, *SCHEDULE_TOOLS)}


def get_tool(name: str) -> Tool:
    """Raises NotFound, listing the tools there are."""
    tool = TOOLS.get(name)
    if tool is None:
        raise NotFound(
            f"there is no tool {name[:60]!r}",
            code="tool_not_found",
            next_action=f"Tools: {', '.join(TOOLS)}",
        )
    return tool


def callable_by(principal: Principal) -> list[Tool]:
    """The tools that the caller may call, in the table's order: by its scopes, and by its key's rights."""
    return [
        tool
        for tool in TOOLS.values()
        if principal.rights.may_call(tool.name) and any(scope.value in principal.scopes for scope in tool.scopes)
    ]


def describe(tool: Tool) -> dict[str, Any]:
    """The tool as ``GET /v1/tools`` lists it, with JSON Schemas of its input and output."""
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
        "example": tool.example,
        "annotations": {
            "read_only": tool.read_only,
            "idempotent": tool.idempotent,
            "destructive": tool.destructive,
            "scopes": [scope.value for scope in tool.scopes],
        },
    }
