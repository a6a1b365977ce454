"""Which node each job of a wave is to have: matched in memory, claimed elsewhere (claiming.py), offered (offering.py)."""

from __future__ import annotations

from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.types import Query
from app.services.waves import Wave


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


def undo(wave: Wave, matchmaker: Matchmaker) -> None:
    """Give the view back what a wave that failed had taken from it."""
    for node_id, slots in wave.tentative:
        if matchmaker.view.get(node_id) is not None:
            matchmaker.view.adjust(node_id, -slots)
    wave.tentative.clear()
