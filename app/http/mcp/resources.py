"""What MCP clients can read besides calling tools: a job, and the figures of the network."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from app.core.errors import HaeError, NotFound
from app.http.mcp.caller import caller_of
from app.http.problems import problem_from

Context = ServerRequestContext[Any, Any]

METRICS = "network://metrics"
JOB = "job://"
_JSON = "application/json"
_NOT_FOUND = -32002
"""Resource not found, up to the revision of 2025-11-25; INVALID_PARAMS since."""


async def list_resources(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
    """The one resource that is always there; jobs are found by the template."""
    metrics = types.Resource(
        uri=METRICS,
        name="network_metrics",
        title="Network metrics",
        description="Figures of the whole network: nodes, jobs by state, HYPER paid, GPU utilization.",
        mime_type=_JSON,
    )
    return types.ListResourcesResult(resources=[metrics])


async def list_templates(
    ctx: Context, params: types.PaginatedRequestParams | None
) -> types.ListResourceTemplatesResult:
    """How to name a job."""
    job = types.ResourceTemplate(
        uri_template=f"{JOB}{{id}}",
        name="job",
        title="Job",
        description="One of your jobs by its job_id: state, node, cost, and the result once it is completed.",
        mime_type=_JSON,
    )
    return types.ListResourceTemplatesResult(resource_templates=[job])


async def read_resource(ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    """The resource as the tool answers it. Raises MCPError with the problem document as its data."""
    uri = str(params.uri)
    caller = caller_of(ctx)
    try:
        if uri.rstrip("/") == METRICS:
            answer = await caller.engine.agents.call(caller.principal, "network_metrics", {})
        elif uri.startswith(JOB):
            answer = await caller.engine.agents.call(caller.principal, "get_job", {"job_id": uri[len(JOB) :]})
        else:
            raise NotFound(
                f"there is no resource {uri[:120]!r}",
                code="resource_not_found",
                next_action=f"Read {METRICS}, or {JOB} with a job_id behind it.",
            )
    except HaeError as error:
        document = problem_from(error)
        modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        code = _NOT_FOUND if document.status == 404 and not modern else types.INVALID_PARAMS
        raise MCPError(code=code, message=error.detail, data=msgspec.to_builtins(document)) from error
    text = msgspec.json.encode(answer).decode()
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, mime_type=_JSON, text=text)])
