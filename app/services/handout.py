"""Handing jobs to workers that cannot accept: giving the job out is the acceptance."""

from __future__ import annotations

from app.core.errors import NotFound
from app.core.events import SignalKind
from app.core.jobs import Offer
from app.core.states import OfferState
from app.store import offers, signals
from app.store.db import Database
from app.store.offers import OpenOffer


async def take(db: Database, node_id: str) -> OpenOffer | None:
    """The job the node is to run now: the one it has and did not report, else the oldest offer, accepted hereby."""
    async with db.unit() as uow:
        held = await offers.waiting(uow, [node_id], states=(OfferState.OPEN, OfferState.ACCEPTED))
        held.sort(key=lambda offer: offer.state is OfferState.OPEN)
        for offer in held:
            if offer.state is OfferState.ACCEPTED:
                return offer
            if await offers.accept(uow, [(offer.id, node_id)]):
                # The worker says nothing until it is done, so the hand-out is its first progress, too.
                await offers.mark_started(uow, offer.id, node_id)
                await signals.add(uow, [(offer.job_id, SignalKind.OFFER_ACCEPTED, None)])
                return offer
    return None


async def run_of(db: Database, job_id: str, account: str) -> Offer:
    """The latest run of the job on a node of this account, over or not. Raises NotFound when there is none."""
    async with db.unit() as uow:
        offer = await offers.last_run(uow, job_id, account)
    if offer is None:
        raise NotFound("no node of this token runs this job", code="job_not_found")
    return offer
