"""Claims of a wave: its choices granted or refused by PostgreSQL, and the next candidates of those refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.types import Candidate
from app.services.placing import give_back
from app.services.waves import Wave
from app.store import claims
from app.store.claims import MAX_BATCH, Claimed, Want
from app.store.db import UnitOfWork

ROUNDS = 6
"""Matches tried in one wave before a job whose candidates are all contended waits for the next wave."""

PAUSE_S = 0.004

CONTENDED = "contended"
GONE = "gone"
BUSY = "busy"


async def claim(uow: UnitOfWork, wave: Wave, matchmaker: Matchmaker) -> None:
    """Claim what every job chose; granted ones stay in ``wave.to_offer``.

    A refusal puts the node's true row into the view. The job asks for its next candidate that still fits by what is
    known now; when it has none left it goes back to ``wave.to_match``, or to ``wave.unplaced`` after ROUNDS matches.
    """
    asking = {job_id: wave.matches[job_id].best for job_id in wave.to_offer if job_id not in wave.granted}
    while asking:
        claimed = await _claimed(uow, wave, asking, matchmaker.min_reputation)
        wave.contended |= claimed.contended | claimed.gone
        won = {job_id: candidate for job_id, candidate in asking.items() if job_id in claimed.granted}
        wave.granted |= won.keys()
        wave.chosen |= won
        refused = {job_id: candidate for job_id, candidate in asking.items() if job_id not in won}
        for job_id, candidate in refused.items():
            _take_back(wave, matchmaker, job_id, candidate)
        _heal(wave, matchmaker, {candidate.node_id for candidate in refused.values()} & claimed.nodes.keys())
        asking = {}
        for job_id in refused:
            candidate = _next(wave, matchmaker, job_id)
            if candidate is not None:
                asking[job_id] = candidate
            else:
                (wave.to_match if wave.rounds < ROUNDS else wave.unplaced).append(job_id)
    wave.to_offer = [job_id for job_id in wave.to_offer if job_id in wave.granted]


async def _claimed(uow: UnitOfWork, wave: Wave, asking: dict[str, Candidate], floor: int) -> Claimed:
    """Ask for all of it, and take note of the rows as the transaction has them now."""
    await _settle_up(uow, wave, {candidate.node_id for candidate in asking.values()})
    wants = [
        Want(job_id, candidate.node_id, wave.visits[job_id].job.requirements) for job_id, candidate in asking.items()
    ]
    outcome = Claimed()
    for start in range(0, len(wants), MAX_BATCH):
        await _ask(uow, wave, wants[start : start + MAX_BATCH], floor, outcome)
    return outcome


async def _ask(uow: UnitOfWork, wave: Wave, wants: list[Want], floor: int, outcome: Claimed) -> None:
    """Claim one batch, and add to ``outcome`` what came of it.

    Nodes that another wave holds are asked for again a few times: mostly it is about to commit.
    """
    while True:
        # The wave holds locks of jobs, offers and nodes already: waiting for more could deadlock.
        claimed = await claims.claim(uow, wants, floor=floor, wait=False)
        for node_id, row in claimed.nodes.items():
            wave.before.setdefault(node_id, (row, claimed.taken.get(node_id, 0)))
        wave.nodes |= claimed.nodes
        outcome.granted |= claimed.granted
        outcome.nodes |= claimed.nodes
        outcome.gone |= claimed.gone
        if not claimed.contended or wave.patience <= 0:
            outcome.contended |= claimed.contended
            return
        wave.patience -= 1
        await asyncio.sleep(PAUSE_S)
        wants = [want for want in wants if want.node_id in claimed.contended]


async def _settle_up(uow: UnitOfWork, wave: Wave, node_ids: set[str]) -> None:
    """Write what the wave gives back on these nodes: claims go by the rows."""
    owed = {node_id: wave.slots[node_id] for node_id in node_ids & wave.slots.keys() if wave.slots[node_id].slots}
    if not owed:
        return
    await claims.release(uow, [(node_id, -change.slots) for node_id, change in owed.items()])
    for node_id, change in owed.items():
        row = wave.nodes[node_id]
        wave.before.setdefault(node_id, (row, 0))
        wave.nodes[node_id] = replace(row, active_jobs=row.active_jobs + change.slots, version=row.version + 1)
        change.slots = 0


def _take_back(wave: Wave, matchmaker: Matchmaker, job_id: str, candidate: Candidate) -> None:
    """Note the refusal, and give the view back what the choice had taken there."""
    node_id, wanted = candidate.node_id, wave.visits[job_id].job.requirements
    wave.apart.put(job_id, None)
    if node_id in wave.contended:
        reason = CONTENDED if node_id in matchmaker.view else GONE
    else:
        reason = matchmaker.first_failure(wanted, wave.nodes[node_id]) or BUSY
    wave.refused.setdefault(job_id, []).append((node_id, reason))
    if (node_id, wanted.gpus) in wave.tentative:
        wave.tentative.remove((node_id, wanted.gpus))
        give_back(matchmaker, node_id, wanted.gpus)


def _heal(wave: Wave, matchmaker: Matchmaker, node_ids: set[str]) -> None:
    """Put the true rows into the view, as committed, and on top of them what this wave has been granted there."""
    for node_id in node_ids:
        row = claims.before(*wave.before[node_id])
        if not matchmaker.view.heal([row]):
            continue
        room = row.capacity - row.active_jobs
        for taken in [taken for taken in wave.tentative if taken[0] == node_id]:
            if taken[1] <= room:
                room -= taken[1]
                matchmaker.view.adjust(*taken)
            else:
                # Granted on slots that this wave gives back: until it commits, the node is full.
                wave.tentative.remove(taken)


def _next(wave: Wave, matchmaker: Matchmaker, job_id: str) -> Candidate | None:
    """The job's best candidate that has not refused it and fits by what the view holds now, its slots taken there."""
    wanted = wave.visits[job_id].job.requirements
    bad = wave.contended.union(wave.apart.away(job_id), (node_id for node_id, _ in wave.refused[job_id]))
    for candidate in wave.matches[job_id].candidates:
        row = None if candidate.node_id in bad else matchmaker.view.get(candidate.node_id)
        if row is not None and matchmaker.fits(wanted, row):
            matchmaker.view.adjust(candidate.node_id, wanted.gpus)
            wave.tentative.append((candidate.node_id, wanted.gpus))
            wave.apart.put(job_id, candidate.node_id)
            found: Candidate = candidate
            return found
    return None
