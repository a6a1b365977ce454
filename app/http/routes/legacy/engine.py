"""The old engine's own routes, and their names in the network's documents (/internal/…), with the same shapes."""

import math
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from app.core.access import Principal, Scope
from app.core.money import UNIT
from app.core.requirements import JobType, normalise_gpu_model, parse_capabilities
from app.core.requirements import Requirements as Wanted
from app.http.engine import Engine
from app.http.problems import BadRequest
from app.http.security import PUBLIC, scoped
from app.services import market, network, nodes
from tools.answers import stamp
from tools.schemas import CapabilityName


def _named(name: str) -> Any:
    """Operation ids of a route with two paths: ``legacy_…`` under /api, ``internal_…`` under /internal."""

    def create(handler: Any, method: Any, path: list[Any]) -> str:
        return f"{'internal' if path and path[0] == 'internal' else 'legacy'}_{name}"

    return create


class Requirements(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """``vram_min`` in GB."""

    gpu_model: Annotated[str, Meta(max_length=80)] | None = None
    vram_min: Annotated[float, Meta(ge=0, le=1024)] | None = None
    capabilities: list[CapabilityName] | None = None


class MatchRequest(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """``price``: what the whole job pays, in HYPER."""

    job_id: Annotated[str, Meta(min_length=1, max_length=80)]
    job_type: JobType
    requirements: Requirements = msgspec.field(default_factory=Requirements)
    price: Annotated[float, Meta(gt=0, lt=1e10)] | None = None


@post(
    ["/api/matchmaker/match", "/internal/matchmaker/match"],
    operation_id=_named("match"),
    tags=["compatibility"],
    status_code=200,
)
async def match(engine: NamedDependency[Engine], data: JSONBody[MatchRequest]) -> dict[str, Any]:
    """The best node for a job now, by every requirement and over all nodes. Claims nothing."""
    asked = data.requirements
    wanted = Wanted(
        gpu_models=(normalise_gpu_model(asked.gpu_model),) if asked.gpu_model else (),
        min_vram_gb=math.ceil(asked.vram_min or 0),
        capabilities=parse_capabilities(asked.capabilities or ()),
    )
    found, _ = await market.preview(engine.views, wanted, engine.settings.matchmaker.algorithm)
    if found.best is None:
        return {"success": False, "reason": "no_match"}
    node = await nodes.any_node(engine.db, found.best.node_id)
    return {
        "success": True,
        "match": {
            "nodeId": node.node.id,
            "operator": node.wallet,
            "gpuModel": node.details.get("gpu_model") or node.node.gpu_model,
            "vram": node.node.vram_gb,
            "reputation": node.node.reputation,
            "score": found.best.total / 1_000_000,
        },
    }


@post(
    ["/api/webhooks/trigger", "/internal/webhooks/trigger"],
    operation_id=_named("trigger_webhooks"),
    tags=["operators", "compatibility"],
    status_code=200,
    opt=scoped(Scope.OPERATOR),
)
async def trigger(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[dict[str, Any]]
) -> dict[str, Any]:
    """Send ``{event, data}`` to every webhook endpoint."""
    event, told = data.get("event"), data.get("data")
    if not isinstance(event, str) or not 1 <= len(event) <= 80 or not isinstance(told, dict):
        raise BadRequest("bad_event", 'The body must be {"event": "name", "data": {…}}.')
    await network.trigger(engine.db, principal, event, told)
    return {"success": True}


@get(
    ["/api/metrics/current", "/internal/metrics/current"],
    operation_id=_named("current_metrics"),
    tags=["public", "compatibility"],
)
async def metrics(engine: NamedDependency[Engine]) -> dict[str, Any]:
    """The network's figures. ``avgJobDuration`` in milliseconds, ``totalHyperPaid`` in HYPER."""
    now = await engine.figures.current()
    return {
        "totalNodes": now.nodes_total,
        "activeNodes": now.nodes_active,
        "totalJobs": now.jobs_total,
        "jobsCompleted": now.jobs_by_state.get("completed", 0),
        "jobsFailed": now.jobs_by_state.get("failed", 0),
        "avgJobDuration": now.avg_duration_ms,
        "totalHyperPaid": now.hyper_paid / UNIT,
    }


@get("/api/validation", operation_id="validation", tags=["public", "compatibility"])
async def validation(engine: NamedDependency[Engine]) -> dict[str, Any]:
    """The latest 50 jobs and 20 nodes."""
    jobs, registered = await network.recent(engine.db, 50, 20)
    return {
        "recentJobs": [
            {
                "job_id": job.id,
                "job_type": job.type,
                "status": job.state.value,
                "price": None if job.cost is None else job.cost / UNIT,
                "created_at": stamp(job.created_at),
                "completed_at": stamp(job.finished_at) or None,
                "tx_signature": None,
            }
            for job in jobs
        ],
        "recentNodes": [
            {
                "node_id": row.node.id,
                "gpu_model": row.details.get("gpu_model") or row.node.gpu_model,
                "status": row.node.state.value,
                "reputation_score": row.node.reputation,
                "jobs_completed": row.node.jobs_completed,
                "registered_at": stamp(row.created_at),
            }
            for row in registered
        ],
        "lastUpdated": stamp(datetime.now(UTC)),
    }


engine_router = Router("/", route_handlers=[match, trigger], opt=scoped(Scope.AGENT, Scope.OPERATOR))
public_router = Router("/", route_handlers=[metrics, validation], opt=PUBLIC)
