"""What the network could do for a job, without doing it: availability, quotes, a match on trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.core.ids import new_id
from app.core.money import run_cost
from app.core.requirements import Requirements
from app.matchmaker.explain import choice_of, explanation
from app.matchmaker.relax import outlook
from app.matchmaker.types import Availability, Match, Query
from app.services.views import ViewKeeper


@dataclass(frozen=True, slots=True)
class Quote:
    """``price``: the node that would be chosen now, base units per GPU-hour; ``cost``: of ``duration_s`` at it.

    ``cheapest_cost`` and ``median_cost`` over all suitable nodes, busy or not. None where no node is suitable.
    """

    duration_s: int
    available_now: bool
    node_id: str | None
    price: int | None
    cost: int | None
    cheapest_cost: int | None
    median_cost: int | None
    view_version: int
    view_age_s: float


async def availability(views: ViewKeeper, requirements: Requirements) -> Availability:
    """What is there for these requirements, on a view at most ``refresh_s`` old."""
    await views.ensure_fresh()
    return views.matchmaker.availability(requirements)


async def preview(views: ViewKeeper, requirements: Requirements, policy: str) -> Match:
    """The match a job would get now. Claims nothing. Raises InvalidInput on an unknown policy."""
    await views.ensure_fresh()
    return views.matchmaker.match(_on_trial(requirements, policy))


async def explained(views: ViewKeeper, requirements: Requirements, policy: str) -> tuple[Match, dict[str, Any]]:
    """As preview, with its explanation: counts and what would place the job, by full scans."""
    await views.ensure_fresh()
    matchmaker, query = views.matchmaker, _on_trial(requirements, policy)
    found = matchmaker.match(query)
    told = explanation(
        found,
        choice_of(found),
        policy,
        matchmaker.weights,
        tally=matchmaker.tally(query),
        view_age_s=views.age_s,
        outlook=None if found.best else outlook(matchmaker.view, query),
    )
    return found, told


def _on_trial(requirements: Requirements, policy: str) -> Query:
    return Query(new_id("job"), requirements, (), policy)


async def quote(views: ViewKeeper, requirements: Requirements, policy: str, duration_s: int) -> Quote:
    """What a run of ``duration_s`` would cost. Raises InvalidInput on an unknown policy."""
    found = await preview(views, requirements, policy)
    offered = views.matchmaker.availability(requirements)
    best = found.best

    def cost(price: int | None) -> int | None:
        return None if price is None else run_cost(price, requirements.gpus, duration_s * 1000)

    return Quote(
        duration_s,
        best is not None,
        best.node_id if best else None,
        best.price if best else None,
        cost(best.price if best else None),
        cost(offered.cheapest_price),
        cost(offered.median_price),
        found.view_version,
        round(views.age_s, 3),
    )
