"""Claims of a wave: its choices held against the nodes' true rows."""

from __future__ import annotations

from app.core.states import NodeState
from app.matchmaker.matchmaker import Matchmaker
from app.services.waves import Wave, lock_candidates
from app.store.db import UnitOfWork

ROUNDS = 6
"""Claims tried in one wave before a job whose candidates are all contended waits for the next wave."""


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
