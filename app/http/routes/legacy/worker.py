"""The worker that operators run today, unchanged.

It has no accept call: handing a job out on ``available`` is the acceptance, and while no report came the same job is
handed out again, in case the answer was lost. Who it is comes from its token and wallet, never from ``nodeId``, which
it fills with a placeholder. Its loop blocks while a job runs, so heartbeats alone keep its job. It cannot be taught:
whatever its machine says of itself is read as well as it can be, never refused.
"""

from typing import Annotated, Any

import msgspec
from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from app.core.access import Principal, Scope
from app.core.errors import NotFound
from app.http.engine import Engine
from app.http.routes.legacy.machine import WorkerNode, registration_of
from app.http.security import scoped
from app.services import handout, nodes, offers

ERROR_MAX = 10_000


class WorkerHeartbeat(msgspec.Struct, rename="camel"):
    wallet_address: Annotated[str, Meta(min_length=1, max_length=200)]
    status: Any = None


class WorkerResult(msgspec.Struct, rename="camel"):
    """``node_id``: a placeholder, ignored."""

    node_id: Any = None
    result: Any = None
    logs: Any = None
    metrics: Any = None


class WorkerFailure(msgspec.Struct, rename="camel"):
    error: Any = None


class LegacyNode(msgspec.Struct, rename="camel", kw_only=True):
    node_id: str
    wallet_address: str
    status: str


class LegacyRegistered(msgspec.Struct, rename="camel", kw_only=True):
    node: LegacyNode


class LegacyJob(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """``payload``: all that the agent sent; ``model``, ``prompt`` and ``input`` also stand by themselves."""

    job_id: str
    job_type: str
    attempt: int
    timeout_seconds: int
    payload: dict[str, Any]
    model: str = ""
    prompt: str = ""
    input: Any = None


class LegacyAvailable(msgspec.Struct, kw_only=True):
    job: LegacyJob | None


class LegacyDone(msgspec.Struct):
    success: bool


@post("/api/nodes/register", operation_id="legacy_register_node", status_code=201)
async def register(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[WorkerNode]
) -> LegacyRegistered:
    """Register the machine behind a wallet. It runs one job at a time, and registers only when it starts.

    So a job that it was given before it started is lost on it, and goes on elsewhere.
    """
    given = registration_of(data, engine.settings.nodes.default_price_hyper)
    node_id, state, _ = await nodes.register(engine.db, principal, given)
    return LegacyRegistered(node=LegacyNode(node_id=node_id, wallet_address=data.wallet_address, status=state.value))


@post("/api/nodes/heartbeat", operation_id="legacy_heartbeat", status_code=200)
async def heartbeat(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[WorkerHeartbeat]
) -> LegacyDone:
    """Keep the node online and its job with it."""
    node = await nodes.by_wallet(engine.db, principal, data.wallet_address)
    if node is None:
        raise NotFound(
            "no node with this wallet is registered for this token",
            code="node_not_found",
            field="walletAddress",
            next_action="Register it first: POST /api/nodes/register",
        )
    engine.pulse.beat(node.node.id)
    return LegacyDone(True)


@get("/api/jobs/available", operation_id="legacy_available")
async def available(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    wallet: Annotated[list[str] | None, QueryParameter(description="The node's wallet")] = None,
) -> LegacyAvailable:
    """The job to run now, or null; a wrong wallet gets null, too: errors make the worker poll harder."""
    node = await nodes.by_wallet(engine.db, principal, wallet[0]) if wallet else None
    if node is None:
        return LegacyAvailable(job=None)
    engine.pulse.beat(node.node.id)
    offer = await handout.take(engine.db, node.node.id)
    if offer is None:
        return LegacyAvailable(job=None)
    payload = offer.payload
    return LegacyAvailable(
        job=LegacyJob(
            job_id=offer.job_id,
            job_type=offer.job_type,
            attempt=offer.attempt,
            timeout_seconds=offer.timeout_s,
            payload=payload,
            model=payload.get("model", ""),
            prompt=payload.get("prompt", ""),
            input=payload.get("input"),
        )
    )


@post("/api/jobs/{job_id:str}/result", operation_id="legacy_result", status_code=200)
async def result(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    job_id: FromPath[str],
    data: JSONBody[WorkerResult],
) -> LegacyDone:
    """Report the result of the job that this token's node runs; an exact repeat is answered alike."""
    offer = await handout.run_of(engine.db, job_id, principal.account)
    logs = data.logs if isinstance(data.logs, list) else [] if data.logs is None else [data.logs]
    metrics = (
        data.metrics if isinstance(data.metrics, dict) else {} if data.metrics is None else {"value": data.metrics}
    )
    await engine.reports.call(
        offers.new_report(offer.id, offer.node_id, ok=True, body=data.result, logs=logs, metrics=metrics)
    )
    engine.pulse.beat(offer.node_id)
    return LegacyDone(True)


@post("/api/jobs/{job_id:str}/failure", operation_id="legacy_failure", status_code=200)
async def failure(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    job_id: FromPath[str],
    data: JSONBody[WorkerFailure],
) -> LegacyDone:
    """Report that the job failed on this token's node."""
    offer = await handout.run_of(engine.db, job_id, principal.account)
    error = data.error if isinstance(data.error, str) else msgspec.json.encode(data.error).decode()
    report = offers.new_report(offer.id, offer.node_id, ok=False, error=error[:ERROR_MAX] or "failed")
    await engine.reports.call(report)
    engine.pulse.beat(offer.node_id)
    return LegacyDone(True)


worker_router = Router(
    "/",
    route_handlers=[register, heartbeat, available, result, failure],
    tags=["compatibility"],
    opt=scoped(Scope.NODE),
)
