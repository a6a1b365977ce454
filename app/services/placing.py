"""Placing the jobs of a wave: match in memory, claim on the true rows, offer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from app.core.events import Reason
from app.core.ids import new_id
from app.core.jobs import Offer, Visit
from app.core.lifecycle import next_match_look
from app.core.states import JobState, NodeState, OfferState
from app.matchmaker.explain import explanation
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.types import Match, Query, Verdict
from app.services.phases import ENGINE
from app.services.waves import Wave, lock_candidates
from app.store.db import UnitOfWork

ROUNDS = 6
"""Claims tried in one wave before a job whose candidates are all contended waits for the next wave."""


def match(wave: Wave, matchmaker: Matchmaker) -> None:
    """Choose a node for every job of ``wave.to_match``, highest priority first, oldest first.

    Chosen slots are taken in the view at once, so that the wave's next job sees them gone; undo() gives them back.
    """
    wave.rounds += 1
    jobs = [wave.visits[job_id].job for job_id in wave.to_match]
    jobs.sort(key=lambda job: (-job.priority, job.id))
    wave.to_match = []
    for job in jobs:
        excluded = frozenset(job.excluded) | wave.contended
        found = matchmaker.match(Query(job.id, job.requirements, excluded, job.policy))
        wave.matches[job.id] = found
        if found.best is None:
            wave.unplaced.append(job.id)
            continue
        matchmaker.view.adjust(found.best.node_id, job.requirements.gpus)
        wave.tentative.append((found.best.node_id, job.requirements.gpus))
        wave.to_offer.append(job.id)


async def claim(uow: UnitOfWork, wave: Wave, matchmaker: Matchmaker) -> None:
    """Hold every choice against the node's true row, locked now; refused jobs go back to ``wave.to_match``.

    A refusal puts the true row into the view, so that the next match sees what Postgres sees.
    """
    chosen = {job_id: wave.matches[job_id].best for job_id in wave.to_offer if job_id not in wave.granted}
    await lock_candidates(uow, wave, {best.node_id for best in chosen.values()})
    kept = [job_id for job_id in wave.to_offer if job_id in wave.granted]
    for job_id, best in chosen.items():
        job = wave.visits[job_id].job
        wanted = job.requirements
        row = wave.nodes.get(best.node_id)
        fits = (
            row is not None
            and row.state is NodeState.ONLINE
            and matchmaker.fits(wanted, row)
            and wave.free_on(best.node_id) >= wanted.gpus
        )
        if fits:
            wave.slot_change(best.node_id).slots += wanted.gpus
            wave.granted.add(job_id)
            kept.append(job_id)
            continue
        if (best.node_id, wanted.gpus) in wave.tentative:
            matchmaker.view.adjust(best.node_id, -wanted.gpus)
            wave.tentative.remove((best.node_id, wanted.gpus))
        if row is not None:
            # The node is out for the rest of this wave. The true row wipes what the wave had taken from it in the view.
            if matchmaker.view.heal([row]):
                wave.tentative = [taken for taken in wave.tentative if taken[0] != best.node_id]
            wave.contended.add(best.node_id)
        (wave.to_match if wave.rounds < ROUNDS else wave.unplaced).append(job_id)
    wave.to_offer = kept


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


def undo(wave: Wave, matchmaker: Matchmaker) -> None:
    """Give the view back what a wave that failed had taken from it."""
    for node_id, slots in wave.tentative:
        if matchmaker.view.get(node_id) is not None:
            matchmaker.view.adjust(node_id, -slots)
    wave.tentative.clear()
