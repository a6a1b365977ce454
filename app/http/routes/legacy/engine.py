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
from app.core.jobs import Job
from app.core.money import UNIT
from app.core.requirements import TYPE_CAPABILITIES, JobType, normalise_gpu_model, parse_capabilities
from app.core.requirements import Requirements as Wanted
from app.http.engine import Engine
from app.http.problems import BadRequest
from app.http.routes.legacy.answers import (
    LegacyMatch,
    LegacyMatched,
    LegacyMetrics,
    LegacyNoMatch,
    LegacyTriggered,
    LegacyValidation,
    RecentJob,
    RecentNode,
)
from app.http.security import PUBLIC, PUBLIC_SECURITY, scoped
from app.services import market, network, nodes
from app.store.nodes import NodeRow
from tools.answers import stamp
from tools.schemas import CapabilityName


def _named(name: str) -> Any:
    """Operation ids of a route with two paths: ``legacy_…`` under /api, ``internal_…`` under /internal."""

    def create(handler: Any, method: Any, path: list[Any]) -> str:
        return f"{'internal' if path and path[0] == 'internal' else 'legacy'}_{name}"

    return create


class LegacyRequirements(msgspec.Struct, rename="camel"):
    """``vram_min`` in GB. Null and absent both mean: any."""

    gpu_model: Annotated[str, Meta(max_length=80)] | None = None
    vram_min: Annotated[float, Meta(ge=0, le=1024)] | None = None
    capabilities: Annotated[list[CapabilityName], Meta(max_length=64)] | None = None


class LegacyMatchRequest(msgspec.Struct, rename="camel"):
    """``price``: what the whole job pays, in HYPER; nodes ask by the hour, so it excludes none."""

    job_id: Annotated[str, Meta(min_length=1, max_length=80)]
    job_type: JobType
    requirements: LegacyRequirements | None = None
    price: Annotated[float, Meta(gt=0, lt=1e10)] | None = None


@post(
    ["/api/matchmaker/match", "/internal/matchmaker/match"],
    operation_id=_named("match"),
    tags=["compatibility"],
    status_code=200,
)
async def match(engine: NamedDependency[Engine], data: JSONBody[LegacyMatchRequest]) -> LegacyMatched | LegacyNoMatch:
    """The best node for a job now, by every requirement and over all nodes. Claims nothing."""
    asked = data.requirements or LegacyRequirements()
    named = asked.capabilities or []
    wanted = Wanted(
        gpu_models=(normalise_gpu_model(asked.gpu_model),) if asked.gpu_model else (),
        min_vram_gb=math.ceil(asked.vram_min or 0),
        capabilities=parse_capabilities(named) if named else int(TYPE_CAPABILITIES[data.job_type]),
    )
    found = await market.preview(engine.views, wanted, engine.settings.matchmaker.algorithm)
    if found.best is None:
        return LegacyNoMatch(False, "no_match")
    row = await nodes.any_node(engine.db, found.best.node_id)
    return LegacyMatched(
        True,
        LegacyMatch(
            node_id=row.node.id,
            operator=row.wallet,
            gpu_model=row.details.get("gpu_model") or row.node.gpu_model,
            vram=row.node.vram_gb,
            reputation=row.node.reputation,
            score=found.best.total / 1_000_000,
        ),
    )


@post(
    ["/api/webhooks/trigger", "/internal/webhooks/trigger"],
    operation_id=_named("trigger_webhooks"),
    tags=["operators", "compatibility"],
    status_code=200,
    opt=scoped(Scope.OPERATOR),
)
async def trigger(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[dict[str, Any]]
) -> LegacyTriggered:
    """Send ``{event, data}`` to every webhook endpoint; 400 ``bad_event`` for anything else."""
    event, told = data.get("event"), data.get("data")
    if not isinstance(event, str) or not 1 <= len(event) <= 80 or not isinstance(told, dict):
        raise BadRequest("bad_event", 'The body must be {"event": "name", "data": {…}}, the name up to 80 characters.')
    await network.trigger(engine.db, principal, event, told)
    return LegacyTriggered(True)


@get(
    ["/api/metrics/current", "/internal/metrics/current"],
    operation_id=_named("current_metrics"),
    tags=["public", "compatibility"],
)
async def metrics(engine: NamedDependency[Engine]) -> LegacyMetrics:
    """The network's figures. ``avgJobDuration`` in milliseconds, ``totalHyperPaid`` in HYPER."""
    now = await engine.figures.current()
    return LegacyMetrics(
        total_nodes=now.nodes_total,
        active_nodes=now.nodes_active,
        total_jobs=now.jobs_total,
        jobs_completed=now.jobs_by_state.get("completed", 0),
        jobs_failed=now.jobs_by_state.get("failed", 0),
        avg_job_duration=now.avg_duration_ms,
        total_hyper_paid=now.hyper_paid / UNIT,
    )


@get("/api/validation", operation_id="validation", tags=["public", "compatibility"])
async def validation(engine: NamedDependency[Engine]) -> LegacyValidation:
    """The latest 50 jobs and 20 nodes."""
    jobs, paid, registered = await network.recent(engine.db, 50, 20)
    return LegacyValidation(
        recent_jobs=[_recent_job(job, paid.get(job.id)) for job in jobs],
        recent_nodes=[_recent_node(row) for row in registered],
        last_updated=stamp(datetime.now(UTC)),
    )


def _recent_job(job: Job, signature: str | None) -> RecentJob:
    return RecentJob(
        job_id=job.id,
        job_type=job.type,
        status=job.state.value,
        price=None if job.cost is None else job.cost / UNIT,
        created_at=stamp(job.created_at),
        completed_at=stamp(job.finished_at) or None,
        tx_signature=signature,
    )


def _recent_node(row: NodeRow) -> RecentNode:
    return RecentNode(
        node_id=row.node.id,
        gpu_model=row.details.get("gpu_model") or row.node.gpu_model,
        status=row.node.state.value,
        reputation_score=row.node.reputation,
        jobs_completed=row.node.jobs_completed,
        registered_at=stamp(row.created_at),
    )


engine_router = Router("/", route_handlers=[match, trigger], opt=scoped(Scope.AGENT, Scope.OPERATOR))
public_router = Router("/", route_handlers=[metrics, validation], opt=PUBLIC, security=PUBLIC_SECURITY)
