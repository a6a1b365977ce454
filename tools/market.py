"""Tools about the network: match, availability, quote, network_metrics."""

from __future__ import annotations

from typing import Any

from app.core.access import Principal
from app.matchmaker.policy import get_policy
from app.services import market, spending
from tools import schemas
from tools.answers import hyper, requirements_of, stamp
from tools.context import ToolContext
from tools.schemas import (
    AvailabilityAnswer,
    CandidateAnswer,
    MatchAnswer,
    MetricsAnswer,
    QuoteAnswer,
    RelaxationAnswer,
)


async def match(context: ToolContext, principal: Principal, asked: schemas.Match) -> MatchAnswer:
    """The node such a job would get now, and why. Claims nothing."""
    policy = get_policy(asked.policy or context.default_policy).name
    wanted = requirements_of(asked, asked.type)
    if asked.explain:
        found, told = await market.explained(context.views, wanted, policy)
    else:
        found, told = await market.preview(context.views, wanted, policy), {}
    return MatchAnswer(
        matched=found.best is not None,
        told=told.get("told", ""),
        feasible=told.get("feasible", -1),
        rejects=told.get("rejects", {}),
        weights=told.get("weights", {}),
        busy=told.get("busy", 0),
        offline=told.get("offline", 0),
        relaxations=[RelaxationAnswer(**_renamed(one)) for one in told.get("relaxations", [])],
        candidates=[
            CandidateAnswer(
                node_id=one.node_id,
                total=one.total,
                score=one.score,
                price_per_gpu_hour_hyper=hyper(one.price),
                terms=one.terms,
            )
            for one in found.candidates
        ],
        verdict=str(found.verdict or ""),
        policy=policy,
        view_version=found.view_version,
        view_age_s=round(context.views.age_s, 3),
        budget_remaining_hyper=hyper(await spending.remaining(context.db, principal)),
    )


def _renamed(change: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}_" if name == "from" else name: value for name, value in change.items()}


async def availability(context: ToolContext, principal: Principal, asked: schemas.Availability) -> AvailabilityAnswer:
    """How many nodes suit such a job, and at what price."""
    there = await market.availability(context.views, requirements_of(asked, asked.type))
    return AvailabilityAnswer(
        nodes_total=there.total,
        nodes_online=there.online,
        matching=there.matching,
        available_now=there.available_now,
        free_slots=there.free_slots,
        cheapest_price_per_gpu_hour_hyper=hyper(there.cheapest_price),
        median_price_per_gpu_hour_hyper=hyper(there.median_price),
        by_gpu_model=there.by_gpu_model,
        rejects=there.rejects,
    )


async def quote(context: ToolContext, principal: Principal, asked: schemas.Quote) -> QuoteAnswer:
    """What such a job would cost. Binding for nobody: the price is fixed when a node is offered the job."""
    policy = get_policy(asked.policy or context.default_policy).name
    given = await market.quote(context.views, requirements_of(asked, asked.type), policy, asked.duration_s)
    return QuoteAnswer(
        available_now=given.available_now,
        duration_s=given.duration_s,
        node_id=given.node_id or "",
        price_per_gpu_hour_hyper=hyper(given.price),
        cost_hyper=hyper(given.cost),
        cheapest_cost_hyper=hyper(given.cheapest_cost),
        median_cost_hyper=hyper(given.median_cost),
        view_age_s=given.view_age_s,
        budget_remaining_hyper=hyper(await spending.remaining(context.db, principal)),
    )


async def network_metrics(context: ToolContext, principal: Principal, asked: schemas.NetworkMetrics) -> MetricsAnswer:
    """The network's figures, at most two seconds old."""
    now = await context.figures.current()
    return MetricsAnswer(
        nodes_total=now.nodes_total,
        nodes_active=now.nodes_active,
        gpu_utilization=now.gpu_utilization,
        jobs_total=now.jobs_total,
        jobs_by_state=now.jobs_by_state,
        avg_job_duration_ms=now.avg_duration_ms,
        hyper_paid=hyper(now.hyper_paid),
        nodes_by_region=now.regions,
        at=stamp(now.at),
    )
