"""A wave: the jobs that signals point at, locked, decided on by the job graph, written back in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.core.chaining import chained
from app.core.events import JOB_EVENT, EventKind, SignalKind
from app.core.health import Health, Incident, IncidentKind
from app.core.jobs import Job, Move, SettlementMove, Visit
from app.core.lifecycle import SETTLEMENT_EVENT, Phase, phase_of, rank_at, run_deadline, waits
from app.core.nodes import NodeRecord
from app.core.plans import PlanSignalKind
from app.core.states import JOB_FINAL, JobState, NodeState, OfferState
from app.matchmaker.fairness import Share
from app.matchmaker.types import Candidate, Verdict
from app.services.apart import Apart
from app.services.decisions import Decisions
from app.store import (
    counts,
    events,
    jobs,
    leases,
    nodes,
    offers,
    plan_signals,
    results,
    settlements,
    signals,
    spending,
)
from app.store.chain import job_links
from app.store.db import UnitOfWork
from app.store.events import NewEvent
from app.store.nodes import SlotChange

PATIENCE = 8
"""How often a wave asks again for nodes that others hold."""


@dataclass(slots=True)
class Wave:
    """Plain data of one wave. Lists of job ids say which phase takes which job next.

    ``nodes``: locked rows as the transaction has them, claims included; ``slots``: what save_wave has yet to write of
    them; ``before``: those that claims wrote to, as claims left them, with the slots that they took there. ``health``:
    of those nodes that held a job at the wave's start; ``incidents``: what they did about it. ``patience``: how often
    nodes that others hold may yet be asked for again. ``chosen``: the candidate that a job asks for or got, its match's
    best unless there is an entry. ``refused``: for a job the nodes that were refused to it and the filter that they
    failed, or ``contended`` or ``gone``. ``decisions``: what each match was made from.
    ``cancel_grace``: that a node has to stop a cancelled run.
    ``age``: of waiting that is worth a step of priority. ``pulled``: by job id the timers of jobs that were taken along
    from the backlog; those that get no node are left as they were. ``over_quota``: jobs passed over for their key's.
    ``apart``: where the runs of redundant units of plans are.
    """

    now: datetime
    visits: dict[str, Visit]
    consumed: list[int]
    nodes: dict[str, NodeRecord]
    health: dict[str, Health] = field(default_factory=dict)
    incidents: dict[str, list[Incident]] = field(default_factory=dict)
    slots: dict[str, SlotChange] = field(default_factory=dict)
    to_admit: list[str] = field(default_factory=list)
    to_match: list[str] = field(default_factory=list)
    to_offer: list[str] = field(default_factory=list)
    to_start: list[str] = field(default_factory=list)
    to_finish: list[str] = field(default_factory=list)
    to_settle: list[str] = field(default_factory=list)
    unplaced: list[str] = field(default_factory=list)
    matches: dict[str, Any] = field(default_factory=dict)
    chosen: dict[str, Candidate] = field(default_factory=dict)
    refused: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    contended: set[str] = field(default_factory=set)
    granted: set[str] = field(default_factory=set)
    before: dict[str, tuple[NodeRecord, int]] = field(default_factory=dict)
    tentative: list[tuple[str, int]] = field(default_factory=list)
    rounds: int = 0
    patience: int = PATIENCE
    decisions: Decisions = field(default_factory=Decisions)
    age: timedelta = timedelta(seconds=60)
    cancel_grace: timedelta = timedelta(seconds=10)
    pulled: dict[str, int] = field(default_factory=dict)
    over_quota: set[str] = field(default_factory=set)
    shares: dict[str, Share] | None = None
    apart: Apart = field(default_factory=Apart)

    def slot_change(self, node_id: str) -> SlotChange:
        change = self.slots.get(node_id)
        if change is None:
            change = self.slots[node_id] = SlotChange(node_id)
        return change

    def note(self, node_id: str, at: datetime, kind: IncidentKind) -> None:
        """Note what a node did about a job."""
        self.incidents.setdefault(node_id, []).append((at, kind))


async def open_wave(uow: UnitOfWork, due: Sequence[tuple[int, str, str]], lease: timedelta) -> Wave:
    """Lock what the claimed signals ``(id, job_id, kind)`` point at: jobs, their offers, then, where claims may follow,
    the nodes that may be released, each in id order. Jobs that another wave holds keep their signals for later.

    ``lease``: how long a run stays its node's without a sign of life.
    """
    kinds: dict[str, set[str]] = {}
    for _, job_id, kind in due:
        kinds.setdefault(job_id, set()).add(kind)
    locked = await jobs.lock(uow, kinds)
    held = {job.id for job in locked}
    busy: set[str] = set()
    if len(held) < len(kinds):
        busy = await jobs.existing(uow, [job_id for job_id in kinds if job_id not in held])
    visits = await _visits(uow, locked, kinds, lease)
    wave = Wave(uow.now, visits, [signal_id for signal_id, job_id, _ in due if job_id not in busy], {})
    releasing: set[str] = set()
    for visit in visits.values():
        phase = phase_of(visit, uow.now)
        if phase is Phase.ADMIT:
            wave.to_admit.append(visit.job.id)
        elif phase is Phase.START:
            wave.to_start.append(visit.job.id)
        elif phase is Phase.FINISH:
            wave.to_finish.append(visit.job.id)
        elif phase is Phase.SETTLE:
            wave.to_settle.append(visit.job.id)
        if phase is not Phase.REST and visit.offer is not None and visit.offer.holds_slots:
            releasing.add(visit.offer.node_id)
    if releasing and wave.to_admit:
        # Before there are claims: who holds a node waits for no other.
        wave.nodes, wave.health = await nodes.lock_with_health(uow, releasing)
    return wave


async def _visits(uow: UnitOfWork, locked: list[Job], kinds: dict[str, set[str]], lease: timedelta) -> dict[str, Visit]:
    offer_ids = [job.offer_id for job in locked if job.offer_id and not job.final]
    held = await offers.lock(uow, offer_ids) if offer_ids else {}
    accepted = [offer.id for offer in held.values() if offer.state is OfferState.ACCEPTED]
    reported = await results.reports(uow, accepted) if accepted else {}
    visits = {}
    for job in locked:
        offer = held.get(job.offer_id) if job.offer_id else None
        report = reported.get(offer.id) if offer else None
        visits[job.id] = Visit(job, offer, report, kinds[job.id])
    await _look_at_nodes(uow, [v for v in visits.values() if SignalKind.LEASE_LOST in v.signals], lease)
    paid = [v.job.id for v in visits.values() if v.job.chain_job and _may_settle(v)]
    if paid:
        for job_id, view in (await job_links.views(uow, paid)).items():
            visits[job_id].chain = view
    return visits


async def _look_at_nodes(uow: UnitOfWork, doubtful: Sequence[Visit], lease: timedelta) -> None:
    """Whether the nodes of these visits are there, and since when they have given no sign of life."""
    held = {visit.offer.id: visit for visit in doubtful if visit.offer}
    if not held:
        return
    for offer_id, (state, alive_at) in (await leases.of(uow, list(held))).items():
        visit = held[offer_id]
        visit.node_draining = state is NodeState.DRAINING
        visit.node_online = visit.node_draining or state is NodeState.ONLINE
        visit.lease_lost = alive_at + lease <= uow.now


def _may_settle(visit: Visit) -> bool:
    """Whether the payment may matter in this wave: the job ends well in it, or the chain has something new."""
    return (visit.report is not None and visit.report.ok) or not _FROM_CHAIN.isdisjoint(visit.signals)


_FROM_CHAIN = frozenset({SignalKind.CHAIN_CREATED, SignalKind.CHAIN_PAYMENT, SignalKind.CHAIN_CANCELLED})


async def save_wave(uow: UnitOfWork, wave: Wave) -> None:
    """Write everything the graph decided: jobs, offers, nodes, history, events, timers, and the consumed signals."""
    changed = [v for v in wave.visits.values() if v.moves or v.settlements or v.explanation is not None]
    moved = [v for v in changed if v.moves]
    moves, hashes = _chained(moved, uow.now)
    await jobs.save(uow, changed)
    await offers.close(uow, [v for v in moved if v.released])
    await offers.insert(uow, [v.new_offer for v in moved if v.new_offer])
    decided = [(v.job.id, v.job.attempt, v.job.node_id, v.explanation, v.inputs) for v in changed if v.explanation]
    if decided:
        # match_tries counts this attempt's looks that found no node, this one's included.
        before = [v.job.id for v in changed if v.explanation and v.job.match_tries > (0 if v.new_offer else 1)]
        await events.add_decisions(uow, decided, before)
    await settlements.add_history(uow, [move for v in changed for move in v.settlements])
    await events.add(uow, [event for v in changed for event in _events(v)])
    # Stale timers of earlier attempts would each start a chain of looks of their own.
    await signals.drop_timers(uow, [v.job.id for v in changed if v.job.state is JobState.PENDING])
    await signals.add(uow, _timers(wave, changed), wake=False, ranks=_ranks(wave, changed))
    ended = [v.job for v in moved if v.job.final]
    await signals.consume(uow, wave.consumed, [job.id for job in ended])
    waiting = sorted({job.plan_id for job in ended if job.plan_id})
    await plan_signals.add(uow, [(plan_id, PlanSignalKind.JOB_ENDED, None) for plan_id in waiting])
    await _save_nodes(uow, wave)
    # Under the nodes' locks: their slots changed hands in the order of the history.
    if moves:
        await events.write_history(uow, moves, hashes)
        await _count(uow, moved)
    # Last: who holds a key's row back waits for no other.
    await spending.settle(
        uow,
        [(job.key_id, job.spend_day, job.max_cost or 0, job.cost or 0) for job in ended if job.spend_day is not None],
    )


async def _save_nodes(uow: UnitOfWork, wave: Wave) -> None:
    """Write what the wave changes about its nodes. As late as can be, as other waves have claims on them."""
    touched = wave.slots.keys() | wave.incidents.keys()
    if touched and not wave.nodes:
        wave.nodes, wave.health = await nodes.lock_with_health(uow, touched)
    wave.nodes |= await nodes.apply(uow, sorted(wave.slots.values(), key=lambda change: change.node_id))


def _chained(moved: Sequence[Visit], at: datetime) -> tuple[list[Move], list[bytes]]:
    """All moves with their hashes; each job has its new head."""
    moves = [move for visit in moved for move in visit.moves]
    hashes, heads = chained(moves, {visit.job.id: visit.job.history_head for visit in moved}, at)
    for visit in moved:
        visit.job.history_head = heads[visit.job.id]
    return moves, hashes


async def _count(uow: UnitOfWork, moved: Sequence[Visit]) -> None:
    tally = counts.Tally()
    for visit in moved:
        job = visit.job
        tally.move(job.key_id, job.requirements.gpus, visit.origin[0], job.state)
        if job.state is JobState.COMPLETED:
            tally.complete(job.duration_ms or 0, job.cost or 0)
    await counts.add(uow, tally)


def _timers(wave: Wave, changed: list[Visit]) -> list[tuple[str, SignalKind, datetime | None]]:
    timers: list[tuple[str, SignalKind, datetime | None]] = []
    for visit in changed:
        job = visit.job
        if job.final:
            continue
        if visit.new_offer is not None:
            timers.append((job.id, SignalKind.OFFER_EXPIRED, visit.new_offer.expires_at))
        elif job.state is JobState.PENDING:
            # A pause does not outlast the job's deadline.
            waiting = min(job.not_before, job.expires_at) if job.not_before and waits(job, wave.now) else None
            timers.append((job.id, SignalKind.MATCH_DUE, waiting or visit.next_look or wave.now))
        elif job.state is JobState.CANCELLING:
            timers.append((job.id, SignalKind.CANCEL_DUE, job.cancel_by))
        elif visit.offer is not None and any(move.target is JobState.ASSIGNED for move in visit.moves):
            timers.append((job.id, SignalKind.DEADLINE, run_deadline(visit, visit.offer)))
    return timers


def _ranks(wave: Wave, changed: list[Visit]) -> dict[str, datetime]:
    """Of the jobs that wait for slots; one that no node fits would only be looked at in vain."""
    return {
        visit.job.id: rank_at(visit.job, wave.age)
        for visit in changed
        if visit.job.state is JobState.PENDING
        and not waits(visit.job, wave.now)
        and (visit.explanation or {}).get("verdict") != Verdict.NEVER_FITS
    }


def _events(visit: Visit) -> list[NewEvent]:
    told = [_event(visit.job, move) for move in visit.moves]
    return told + [_payment_event(visit, move) for move in visit.settlements]


def _event(job: Job, move: Move) -> NewEvent:
    released = move.source is JobState.SCHEDULED and move.target is JobState.PENDING
    kind = EventKind.JOB_RELEASED if released else JOB_EVENT[move.target]
    data: dict[str, Any] = {
        "job_id": job.id,
        "node_id": move.node_id,
        "type": job.type,
        "state": move.target.value,
        "attempt": move.attempt,
        "reason": move.reason,
    }
    if move.target in JOB_FINAL:
        data |= {"duration_ms": job.duration_ms, "cost": job.cost, "error": job.error}
    return NewEvent(kind, data, job.account, job.id, move.node_id)


def _payment_event(visit: Visit, move: SettlementMove) -> NewEvent:
    job, chain = visit.job, visit.chain
    data = {
        "job_id": job.id,
        "node_id": job.node_id,
        "type": job.type,
        "state": job.state.value,
        "settlement": move.target.value,
        "reason": move.reason,
        "chain_job": job.chain_job,
        "amount": chain.price if chain else None,
        "tx_signature": chain.signature if chain else None,
    }
    return NewEvent(SETTLEMENT_EVENT[move.target], data, job.account, job.id, job.node_id)


def committed_nodes(wave: Wave) -> list[NodeRecord]:
    """The rows of the nodes this wave held, as the commit left them: for the view."""
    return list(wave.nodes.values())
