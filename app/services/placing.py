"""Which node each job of a wave is to have: matched in memory, claimed by claiming.py, offered by offering.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.core.jobs import Job
from app.core.lifecycle import rank_at
from app.matchmaker.assign import place
from app.matchmaker.fairness import NEVER, Line, Share, Waiter
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.types import Match, Query
from app.services import apart
from app.services.backlog import free_slots
from app.services.quotas import Quotas
from app.services.waves import Wave
from app.store.db import UnitOfWork

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


async def read_shares(uow: UnitOfWork, wave: Wave, matchmaker: Matchmaker, quotas: Quotas) -> None:
    """Learn, once a wave, what the keys of ``wave.to_match`` may have; reads what they hold only where that matters."""
    if wave.shares is not None:
        return
    asking = [wave.visits[job_id].job for job_id in wave.to_match]
    key_ids = {job.key_id for job in asking}
    contended = len(key_ids) > 1 and (
        bool(wave.pulled) or free_slots(matchmaker.view) < sum(job.requirements.gpus for job in asking)
    )
    wave.shares = await quotas.shares(uow, key_ids, contended=contended)


async def read_runs(uow: UnitOfWork, wave: Wave) -> None:
    """Learn, once a wave, where the other runs are of the redundant units that jobs of ``wave.to_match`` belong to."""
    asking = [wave.visits[job_id].job for job_id in wave.to_match]
    await apart.look(uow, wave.apart, asking, [visit.job for visit in wave.visits.values()])


def match(wave: Wave, matchmaker: Matchmaker) -> None:
    """Choose nodes for the jobs of ``wave.to_match``, in the order of right (fairness.py), as a batch (assign.py).

    Chosen slots are taken in the view at once; undo() gives them back. Jobs from the backlog that get none are left out
    of the wave, as if it had never looked at them. Runs of one unit of a plan are placed one after the other, each away
    from those before.
    """
    wave.rounds += 1
    asking = [wave.visits[job_id].job for job_id in wave.to_match]
    wave.to_match = []
    for batch in wave.apart.in_turn(asking):
        _match(wave, matchmaker, batch)


def _match(wave: Wave, matchmaker: Matchmaker, asking: Sequence[Job]) -> None:
    queries = {job.id: _query(wave, job) for job in asking}
    # A pulled job that was moved meanwhile has to be written whatever comes of it.
    quiet = {job.id for job in asking if job.id in wave.pulled and not wave.visits[job.id].moves}
    line = Line([_waiter(job, wave.age) for job in asking], _shares(wave), wave.age // _MICROSECOND)

    def noted(query: Query, found: Match) -> None:
        wave.decisions.note(matchmaker, query, found)

    outcome = place(matchmaker, line, queries, noted=noted, quiet=quiet)
    left = {waiter.job_id for waiter in outcome.skipped}
    for choice in outcome.choices:
        job_id, best = choice.waiter.job_id, choice.match.best
        wave.matches[job_id] = choice.match
        if best is not None:
            wave.tentative.append((best.node_id, choice.waiter.slots))
            wave.apart.put(job_id, best.node_id)
            wave.to_offer.append(job_id)
        elif job_id in quiet:
            left.add(job_id)
        else:
            wave.unplaced.append(job_id)
    for waiter in outcome.over_quota:
        if waiter.job_id in quiet:
            left.add(waiter.job_id)
        else:
            wave.matches[waiter.job_id] = found = matchmaker.match(queries[waiter.job_id])
            noted(queries[waiter.job_id], found)
            wave.over_quota.add(waiter.job_id)
            wave.unplaced.append(waiter.job_id)
    if left:
        kept = {wave.pulled[job_id] for job_id in left}
        wave.consumed = [signal_id for signal_id in wave.consumed if signal_id not in kept]


def _query(wave: Wave, job: Job) -> Query:
    excluded = frozenset(job.excluded) | wave.contended
    if away := wave.apart.away(job.id):
        wave.apart.noted[job.id] = away
        excluded |= away
    return Query(job.id, job.requirements, excluded, job.policy)


def _waiter(job: Job, age: timedelta) -> Waiter:
    deadline = NEVER if job.deadline_at is None else (job.deadline_at - _EPOCH) // _MICROSECOND
    rank = (rank_at(job, age) - _EPOCH) // _MICROSECOND
    return Waiter(job.id, job.key_id, job.requirements.gpus, rank, deadline)


def _shares(wave: Wave) -> dict[str, Share]:
    """The shares as they are by now: what this wave gave back and took in earlier rounds counts."""
    shares = wave.shares or {}
    changes = dict.fromkeys(shares, 0)
    for visit in wave.visits.values():
        if visit.released and visit.job.key_id in changes:
            changes[visit.job.key_id] -= visit.released
    for job_id in wave.to_offer:
        job = wave.visits[job_id].job
        if job.key_id in changes:
            changes[job.key_id] += job.requirements.gpus
    return {key_id: replace(share, held=max(0, share.held + changes[key_id])) for key_id, share in shares.items()}


def undo(wave: Wave, matchmaker: Matchmaker) -> None:
    """Give the view back what a wave that failed had taken from it."""
    for node_id, slots in wave.tentative:
        give_back(matchmaker, node_id, slots)
    wave.tentative.clear()


def give_back(matchmaker: Matchmaker, node_id: str, slots: int) -> None:
    """Assume so many slots of the node free again that a wave had taken in the view.

    A row that was committed meanwhile has taken its place and knows nothing of them: then there is nothing to give
    back.
    """
    held = matchmaker.view.get(node_id)
    if held is not None and held.active_jobs >= slots:
        matchmaker.view.adjust(node_id, -slots)
