"""The worker that operators run today, unchanged.

It has no accept call: handing a job out on ``available`` is the acceptance, and while no report came the same job is
handed out again, in case the answer was lost. Who it is comes from its token and wallet, never from ``nodeId``, which
it fills with a placeholder. Its loop blocks while a job runs, so heartbeats alone keep its job.
"""

from typing import Annotated, Any

import msgspec
from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from app.core.access import Principal, Scope
from app.core.errors import InvalidInput
from app.core.money import parse_price
from app.core.regions import region_of
from app.core.requirements import Capability, normalise_gpu_model
from app.http.engine import Engine
from app.http.security import scoped
from app.services import handout, nodes, offers
from app.services.nodes import Registration

Wallet = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[\x21-\x7e]+$")]
Short = Annotated[str, Meta(max_length=200)]


class Location(msgspec.Struct):
    country: Short | None = None
    city: Short | None = None
    lat: float | None = None
    lon: float | None = None


class WorkerNode(msgspec.Struct, rename="camel"):
    """What the worker tells of its machine; ``vram`` in GB, ``ram_total`` in MB. Fields it may add are ignored."""

    wallet_address: Wallet
    gpu_model: Annotated[str, Meta(min_length=1, max_length=80)] = "unknown"
    vram: Annotated[float, Meta(ge=0, le=1024)] = 0
    driver_version: Short | None = None
    cuda_version: Short | None = None
    host_os: Annotated[str, Meta(max_length=200)] | None = msgspec.field(default=None, name="hostOS")
    cpu_model: Short | None = None
    ram_total: Annotated[float, Meta(ge=0)] | None = None
    location: Location | None = None
    capabilities: Annotated[list[Annotated[str, Meta(max_length=80)]], Meta(max_length=64)] = []


class WorkerHeartbeat(msgspec.Struct, rename="camel"):
    wallet_address: Wallet
    status: Short = "online"


class WorkerResult(msgspec.Struct, rename="camel"):
    node_id: Short | None = None
    result: Any = None
    logs: list[Any] | None = None
    metrics: dict[str, Any] | None = None


class WorkerFailure(msgspec.Struct, rename="camel"):
    error: Any = None


@post("/api/nodes/register", operation_id="legacy_register_node", tags=["compatibility"], status_code=201)
async def register(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[WorkerNode]
) -> dict[str, Any]:
    """Register the machine behind a wallet. It runs one job at a time."""
    known = {c.name.lower(): int(c) for c in Capability if c.name}
    place = data.location or Location()
    given = Registration(
        wallet=data.wallet_address,
        gpu_model=normalise_gpu_model(data.gpu_model.replace("|", " "))[:80],
        gpus=1,
        vram_gb=int(data.vram),
        # Names this engine does not know are left out: the worker cannot be taught new ones.
        capabilities=sum({known[name] for name in data.capabilities if name in known}),
        region=region_of(place.country or ""),
        price=parse_price(engine.settings.nodes.default_price_hyper, "default_price_hyper"),
        capacity=1,
        details={"gpu_model": data.gpu_model, "worker": msgspec.to_builtins(data)},
    )
    node_id, state, _ = await nodes.register(engine.db, principal, given)
    return {"node": {"nodeId": node_id, "walletAddress": data.wallet_address, "status": state.value}}


@post("/api/nodes/heartbeat", operation_id="legacy_heartbeat", tags=["compatibility"], status_code=200)
async def heartbeat(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[WorkerHeartbeat]
) -> dict[str, Any]:
    """Keep the node online and its job with it."""
    node = await nodes.by_wallet(engine.db, principal, data.wallet_address)
    if node is None:
        raise InvalidInput("no node with this wallet is registered for this token", field="walletAddress")
    engine.pulse.beat(node.node.id)
    return {"success": True}


@get("/api/jobs/available", operation_id="legacy_available", tags=["compatibility"])
async def available(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    wallet: Annotated[str, QueryParameter(max_length=80)] = "",
) -> dict[str, Any]:
    """The job to run now, or null; a wrong wallet gets null, too: errors make the worker poll harder."""
    node = await nodes.by_wallet(engine.db, principal, wallet) if wallet else None
    if node is None:
        return {"job": None}
    engine.pulse.beat(node.node.id)
    offer = await handout.take(engine.db, node.node.id)
    if offer is None:
        return {"job": None}
    return {
        "job": {
            "jobId": offer.job_id,
            "jobType": offer.job_type,
            "attempt": offer.attempt,
            "timeoutSeconds": offer.timeout_s,
            "payload": offer.payload,
            **{name: offer.payload[name] for name in ("model", "prompt", "input") if name in offer.payload},
        }
    }


@post("/api/jobs/{job_id:str}/result", operation_id="legacy_result", tags=["compatibility"], status_code=200)
async def result(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    job_id: FromPath[str],
    data: JSONBody[WorkerResult],
) -> dict[str, Any]:
    """Report the result of the job that this token's node runs."""
    offer = await handout.run_of(engine.db, job_id, principal.account)
    report = offers.new_report(
        offer.id, offer.node_id, ok=True, body=data.result, logs=data.logs or [], metrics=data.metrics or {}
    )
    await engine.reports.call(report)
    engine.pulse.beat(offer.node_id)
    return {"success": True}


@post("/api/jobs/{job_id:str}/failure", operation_id="legacy_failure", tags=["compatibility"], status_code=200)
async def failure(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    job_id: FromPath[str],
    data: JSONBody[WorkerFailure],
) -> dict[str, Any]:
    """Report that the job failed on this token's node."""
    offer = await handout.run_of(engine.db, job_id, principal.account)
    error = data.error if isinstance(data.error, str) else msgspec.json.encode(data.error).decode()
    await engine.reports.call(offers.new_report(offer.id, offer.node_id, ok=False, error=error[:10_000] or "failed"))
    engine.pulse.beat(offer.node_id)
    return {"success": True}


worker_router = Router("/", route_handlers=[register, heartbeat, available, result, failure], opt=scoped(Scope.NODE))
