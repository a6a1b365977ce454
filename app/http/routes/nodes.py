"""The native node API: register, stay alive, take offers, report."""

from typing import Annotated, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from app.core.access import Principal, Scope
from app.core.money import format_hyper, parse_price
from app.core.requirements import normalise_gpu_model, parse_capabilities
from app.http.engine import Engine, owned_node, wait_or_stop
from app.http.security import scoped
from app.services import nodes, offers
from app.services.nodes import Registration
from app.store.offers import OpenOffer
from tools.answers import stamp
from tools.schemas import CapabilityName, Input, RegionName

Text = Annotated[str, Meta(max_length=2_000)]


class Register(Input, kw_only=True):
    """A node and its GPUs. ``capacity``: jobs' GPUs it takes at once; 0 = as many as it has."""

    wallet: Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[\x21-\x7e]+$")]
    gpu_model: Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[^|\x00-\x1f]+$")]
    gpus: Annotated[int, Meta(ge=1, le=64)] = 1
    vram_gb: Annotated[int, Meta(ge=0, le=1024)] = 0
    capabilities: Annotated[list[CapabilityName], Meta(max_length=8)] = []
    region: RegionName = ""
    price_per_gpu_hour_hyper: Annotated[str, Meta(max_length=40)] = ""
    capacity: Annotated[int, Meta(ge=0, le=64)] = 0
    name: Annotated[str, Meta(max_length=80)] = ""


class Registered(msgspec.Struct, kw_only=True):
    node_id: str
    state: str
    created: bool
    heartbeat_interval_s: float
    offline_after_s: float


class Heartbeat(Input, kw_only=True):
    gpu_utilization: Annotated[int, Meta(ge=0, le=100)] | None = None


class Decline(Input, kw_only=True):
    reason: Text = ""


class Progress(Input, kw_only=True):
    percent: Annotated[float, Meta(ge=0, le=100)] = 0.0
    message: Text = ""


class NodeResult(Input, kw_only=True):
    """``result``: any JSON. ``metrics``: what the node measured."""

    result: Any = None
    logs: Annotated[list[Any], Meta(max_length=1_000)] = []
    metrics: dict[str, Any] = {}


class NodeFailure(Input, kw_only=True):
    error: Annotated[str, Meta(min_length=1, max_length=10_000)]
    logs: Annotated[list[Any], Meta(max_length=1_000)] = []
    metrics: dict[str, Any] = {}


@post("/v1/node/register", operation_id="register_node", tags=["nodes"])
async def register(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[Register]
) -> Response[Registered]:
    """Register a node, or update the one with this wallet: 201 the first time, then 200."""
    settings = engine.settings.nodes
    price = data.price_per_gpu_hour_hyper or settings.default_price_hyper
    given = Registration(
        wallet=data.wallet,
        gpu_model=normalise_gpu_model(data.gpu_model),
        gpus=data.gpus,
        vram_gb=data.vram_gb,
        capabilities=parse_capabilities(data.capabilities),
        region=data.region,
        price=parse_price(price, "price_per_gpu_hour_hyper"),
        capacity=data.capacity or data.gpus,
        details={"name": data.name, "gpu_model": data.gpu_model},
    )
    node_id, state, created = await nodes.register(engine.db, principal, given)
    answer = Registered(
        node_id=node_id,
        state=state.value,
        created=created,
        heartbeat_interval_s=settings.heartbeat_interval_s,
        offline_after_s=settings.offline_after_s,
    )
    return Response(answer, status_code=201 if created else 200)


@post("/v1/node/{node_id:str}/heartbeat", operation_id="node_heartbeat", tags=["nodes"], status_code=200)
async def heartbeat(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    data: JSONBody[Heartbeat],
) -> dict[str, Any]:
    """Say that the node is alive; every other call of the node says so too."""
    row = await owned_node(engine, principal, node_id)
    engine.pulse.beat(node_id, data.gpu_utilization)
    return {"node_id": node_id, "state": row.node.state.value}


@get("/v1/node/{node_id:str}/offers", operation_id="node_offers", tags=["nodes"])
async def poll(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    wait: Annotated[float, QueryParameter(ge=0, le=45)] = 0.0,
) -> dict[str, Any]:
    """Open offers for the node, waiting up to ``wait`` seconds for one. An offer comes again until it is answered."""
    await owned_node(engine, principal, node_id)
    if wait > 0:
        found = await wait_or_stop(engine, engine.offer_desk, node_id, bool, wait)
    else:
        found = (await offers.waiting(engine.db, [node_id])).get(node_id)
    return {"offers": [offer_answer(offer) for offer in found or []]}


@post(
    "/v1/node/{node_id:str}/offers/{offer_id:str}/accept",
    operation_id="accept_offer",
    tags=["nodes"],
    status_code=200,
)
async def accept(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    offer_id: FromPath[str],
) -> dict[str, Any]:
    """Accept an offer; saying so again changes nothing. 410 after its expiry."""
    await owned_node(engine, principal, node_id)
    await engine.accepts.call((offer_id, node_id))
    return {"offer_id": offer_id, "state": "accepted"}


@post(
    "/v1/node/{node_id:str}/offers/{offer_id:str}/decline",
    operation_id="decline_offer",
    tags=["nodes"],
    status_code=200,
)
async def decline(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    offer_id: FromPath[str],
    data: JSONBody[Decline],
) -> dict[str, Any]:
    """Decline an offer; the job goes to the next node and does not come back to this one."""
    await owned_node(engine, principal, node_id)
    await offers.decline(engine.db, node_id, offer_id, data.reason)
    return {"offer_id": offer_id, "state": "declined"}


@post(
    "/v1/node/{node_id:str}/offers/{offer_id:str}/progress",
    operation_id="report_progress",
    tags=["nodes"],
    status_code=200,
)
async def progress(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    offer_id: FromPath[str],
    data: JSONBody[Progress],
) -> dict[str, Any]:
    """Report progress. 409 ``offer_over`` when the job was cancelled or taken away: stop working on it."""
    await owned_node(engine, principal, node_id)
    await offers.progress(engine.db, node_id, offer_id, data.percent, data.message)
    return {"offer_id": offer_id, "continue": True}


@post(
    "/v1/node/{node_id:str}/offers/{offer_id:str}/result",
    operation_id="report_result",
    tags=["nodes"],
    status_code=200,
)
async def result(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    offer_id: FromPath[str],
    data: JSONBody[NodeResult],
) -> dict[str, Any]:
    """Report the result. The first report stands; an exact repeat is answered alike, another one with 409."""
    await owned_node(engine, principal, node_id)
    await engine.reports.call(
        offers.new_report(offer_id, node_id, ok=True, body=data.result, logs=data.logs, metrics=data.metrics)
    )
    return {"offer_id": offer_id, "state": "reported"}


@post(
    "/v1/node/{node_id:str}/offers/{offer_id:str}/failure",
    operation_id="report_failure",
    tags=["nodes"],
    status_code=200,
)
async def failure(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    offer_id: FromPath[str],
    data: JSONBody[NodeFailure],
) -> dict[str, Any]:
    """Report that the run failed. The job is run again elsewhere while it has retries left."""
    await owned_node(engine, principal, node_id)
    await engine.reports.call(
        offers.new_report(offer_id, node_id, ok=False, error=data.error, logs=data.logs, metrics=data.metrics)
    )
    return {"offer_id": offer_id, "state": "reported"}


@post("/v1/node/{node_id:str}/drain", operation_id="drain_node", tags=["nodes"], status_code=200)
async def drain(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], node_id: FromPath[str]
) -> dict[str, Any]:
    """Take no more jobs: open offers go elsewhere, running jobs go on."""
    row = await owned_node(engine, principal, node_id)
    state = await nodes.drain(engine.db, row, principal.key_id)
    return {"node_id": node_id, "state": state.value}


@post("/v1/node/{node_id:str}/resume", operation_id="resume_node", tags=["nodes"], status_code=200)
async def resume(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], node_id: FromPath[str]
) -> dict[str, Any]:
    """Take jobs again after a drain."""
    row = await owned_node(engine, principal, node_id)
    state = await nodes.resume(engine.db, row, principal.key_id)
    return {"node_id": node_id, "state": state.value}


def offer_answer(offer: OpenOffer) -> dict[str, Any]:
    """An offer as its node sees it."""
    return {
        "offer_id": offer.id,
        "job_id": offer.job_id,
        "attempt": offer.attempt,
        "type": offer.job_type,
        "input": offer.payload,
        "gpus": offer.gpus,
        "price_per_gpu_hour_hyper": format_hyper(offer.price),
        "timeout_s": offer.timeout_s,
        "created_at": stamp(offer.created_at),
        "expires_at": stamp(offer.expires_at),
    }


nodes_router = Router(
    "/",
    route_handlers=[register, heartbeat, poll, accept, decline, progress, result, failure, drain, resume],
    opt=scoped(Scope.NODE),
)
