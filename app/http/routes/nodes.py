"""The native node API: register, stay alive, take offers, report."""

from typing import Annotated, Any

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from app.core.access import Principal, Scope
from app.core.money import parse_price
from app.core.requirements import normalise_gpu_model, parse_capabilities
from app.http.engine import Engine, check_owner, owned_node
from app.http.routes.node_bodies import (
    AcceptAnswer,
    Decline,
    Heartbeat,
    HeartbeatAnswer,
    NodeAnswer,
    NodeFailure,
    NodeResult,
    OffersAnswer,
    OfferStateAnswer,
    Progress,
    ProgressAnswer,
    Register,
    Registered,
    offer_answer,
)
from app.http.security import scoped
from app.http.waiting import while_connected
from app.services import nodes, offers
from app.services.nodes import Registration
from app.services.offers import Acceptance
from app.store.results import NewReport
from tools.answers import stamp


@post("/v1/node/register", operation_id="register_node")
async def register(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[Register]
) -> Response[Registered]:
    """Register a node, or update the one with this wallet: 201 the first time, then 200.

    409 ``wallet_taken`` when the wallet belongs to another account's node.
    """
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
        fresh=data.fresh,
    )
    node_id, state, created = await engine.registers.call((principal, given))
    answer = Registered(
        node_id=node_id,
        state=state.value,
        created=created,
        heartbeat_interval_s=settings.heartbeat_interval_s,
        offline_after_s=settings.offline_after_s,
        lease_s=settings.lease_s,
    )
    return Response(answer, status_code=201 if created else 200)


@post("/v1/node/{node_id:str}/heartbeat", operation_id="node_heartbeat", status_code=200)
async def heartbeat(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    data: JSONBody[Heartbeat],
) -> HeartbeatAnswer:
    """Say that the node is alive, which renews its leases; every other call of the node says so too."""
    row = await owned_node(engine, principal, node_id)
    engine.pulse.beat(node_id, data.gpu_utilization)
    holds = row.node.active_jobs or data.running
    return HeartbeatAnswer(
        node_id=node_id,
        state=row.node.state.value,
        penalty=row.node.penalty,
        trial=row.node.trial,
        suspended_until=stamp(row.suspended_until),
        stop=await offers.to_stop(engine.db, node_id, data.running) if holds else [],
    )


@get("/v1/node/{node_id:str}/offers", operation_id="node_offers")
async def poll(
    request: Request[Any, Any, Any],
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    wait: Annotated[float, QueryParameter(ge=0, le=45, description="Longest wait in seconds")] = 0.0,
) -> OffersAnswer:
    """Open offers for the node, waiting up to ``wait`` seconds for one. An offer comes again until it is answered."""
    await check_owner(engine, principal, node_id)
    if wait > 0:
        found = await while_connected(request.receive, engine.offer_desk.wait(node_id, bool, wait))
    else:
        found = (await offers.waiting(engine.db, [node_id])).get(node_id)
    return OffersAnswer(offers=[offer_answer(offer, engine.settings.nodes.lease_s) for offer in found or []])


@post("/v1/node/{node_id:str}/offers/{offer_id:str}/accept", operation_id="accept_offer", status_code=200)
async def accept(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    offer_id: FromPath[str],
    lease_token: Annotated[
        int, QueryParameter(ge=0, le=2**63 - 1, description="lease_token of the offer; 0 = not told")
    ] = 0,
) -> AcceptAnswer:
    """Accept an offer; saying so again changes nothing. 410 ``offer_expired`` after its expiry."""
    await check_owner(engine, principal, node_id)
    token = await engine.accepts.call(Acceptance(offer_id, node_id, lease_token))
    lease_s = engine.settings.nodes.lease_s
    return AcceptAnswer(offer_id=offer_id, state="accepted", lease_token=token, lease_s=lease_s)


@post("/v1/node/{node_id:str}/offers/{offer_id:str}/decline", operation_id="decline_offer", status_code=200)
async def decline(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    offer_id: FromPath[str],
    data: JSONBody[Decline],
) -> OfferStateAnswer:
    """Decline an offer; the job goes to the next node and does not come back to this one."""
    await check_owner(engine, principal, node_id)
    await offers.decline(engine.db, node_id, offer_id, data.reason)
    return OfferStateAnswer(offer_id=offer_id, state="declined")


@post("/v1/node/{node_id:str}/offers/{offer_id:str}/progress", operation_id="report_progress", status_code=200)
async def progress(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    offer_id: FromPath[str],
    data: JSONBody[Progress],
) -> ProgressAnswer:
    """Report progress, which renews the lease.

    409 ``cancel_requested`` when the job is to be cancelled: stop, and report a failure, or the result if there is one.
    409 ``offer_over`` when it was taken away, and ``lease_lost`` when the lease token is another's: stop, and report
    nothing.
    """
    await check_owner(engine, principal, node_id)
    await offers.progress(engine.db, node_id, offer_id, data.percent, data.message, token=data.lease_token)
    return ProgressAnswer(offer_id=offer_id)


@post("/v1/node/{node_id:str}/offers/{offer_id:str}/result", operation_id="report_result", status_code=200)
async def result(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    offer_id: FromPath[str],
    data: JSONBody[NodeResult],
) -> OfferStateAnswer:
    """Report the result. The first report stands; an exact repeat is answered alike, another one with 409.

    One that comes when the job is over for this node is kept and does not count: 409 ``offer_over``.
    """
    report = offers.new_report(
        offer_id,
        node_id,
        ok=True,
        body=data.result,
        logs=data.logs,
        metrics=data.metrics,
        lease_token=data.lease_token,
    )
    return await _reported(engine, principal, report)


@post("/v1/node/{node_id:str}/offers/{offer_id:str}/failure", operation_id="report_failure", status_code=200)
async def failure(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    node_id: FromPath[str],
    offer_id: FromPath[str],
    data: JSONBody[NodeFailure],
) -> OfferStateAnswer:
    """Report that the run failed. The job is run again elsewhere while it has retries left."""
    report = offers.new_report(
        offer_id,
        node_id,
        ok=False,
        error=data.error,
        logs=data.logs,
        metrics=data.metrics,
        lease_token=data.lease_token,
    )
    return await _reported(engine, principal, report)


async def _reported(engine: Engine, principal: Principal, report: NewReport) -> OfferStateAnswer:
    await check_owner(engine, principal, report.node_id)
    await engine.reports.call(report)
    return OfferStateAnswer(offer_id=report.offer_id, state="reported")


@post("/v1/node/{node_id:str}/drain", operation_id="drain_node", status_code=200)
async def drain(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], node_id: FromPath[str]
) -> NodeAnswer:
    """Take no more jobs: open offers go elsewhere, running jobs go on."""
    row = await owned_node(engine, principal, node_id)
    state = await nodes.drain(engine.db, row, principal.key_id)
    return NodeAnswer(node_id=node_id, state=state.value)


@post("/v1/node/{node_id:str}/resume", operation_id="resume_node", status_code=200)
async def resume(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], node_id: FromPath[str]
) -> NodeAnswer:
    """Take jobs again after a drain."""
    row = await owned_node(engine, principal, node_id)
    state = await nodes.resume(engine.db, row, principal.key_id)
    return NodeAnswer(node_id=node_id, state=state.value)


nodes_router = Router(
    "/",
    route_handlers=[register, heartbeat, poll, accept, decline, progress, result, failure, drain, resume],
    tags=["nodes"],
    opt=scoped(Scope.NODE),
)
