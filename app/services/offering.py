"""Offers of a wave: granted claims become leases, and every decision is explained."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from app.core.events import Reason
from app.core.ids import new_id
from app.core.jobs import Offer, Visit
from app.core.lifecycle import next_match_look
from app.core.states import JobState, OfferState
from app.matchmaker.explain import explanation
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.types import Match, Verdict
from app.services.phases import ENGINE
from app.services.waves import Wave


def offer(wave: Wave, matchmaker: Matchmaker, ttl_s: float) -> None:
    """Turn granted claims into open offers, and note for the others why there is none and when to look again."""
    for job_id in wave.to_offer:
        visit = wave.visits[job_id]
        job = visit.job
        best = wave.matches[job_id].best
        price = wave.nodes[best.node_id].price
        visit.new_offer = Offer(
            new_id("offer"), job.id, best.node_id, job.attempt, OfferState.OPEN, True, job.requirements.gpus, price,
            None, wave.now, wave.now + timedelta(seconds=ttl_s), None, None,
        )  # fmt: skip
        job.node_id, job.offer_id, job.price = best.node_id, visit.new_offer.id, price
        visit.explanation = _explained(visit, wave.matches[job_id], matchmaker)
        visit.move(JobState.OFFERED, Reason.MATCHED, ENGINE, wave.now)
    for job_id in wave.unplaced:
        visit = wave.visits[job_id]
        visit.explanation = _explained(visit, wave.matches[job_id], matchmaker)
        if wave.contended:
            # Nodes that other waves hold were left out: that says nothing about them.
            visit.explanation["verdict"] = Verdict.BUSY.value
        never = visit.explanation["verdict"] == Verdict.NEVER_FITS
        visit.next_look = next_match_look(visit, wave.now, never)
        visit.job.match_tries += 1


def _explained(visit: Visit, found: Match, matchmaker: Matchmaker) -> dict[str, Any]:
    return explanation(found, visit.job.policy, matchmaker.weights)
