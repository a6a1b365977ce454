"""What each phase of the job graph does to one visit of a wave: pure changes of plain data, written later in one go."""

from __future__ import annotations

from datetime import timedelta

from app.core.events import Reason, SignalKind
from app.core.health import IncidentKind
from app.core.jobs import Offer, Visit
from app.core.lifecycle import (
    by_deadline,
    cost_of,
    counts_against_node,
    counts_as_failure,
    exclude,
    next_settlement,
    retry_at,
    setback,
    too_late,
)
from app.core.states import JobState, OfferState, Settlement
from app.services.waves import Wave

ENGINE = "engine"
CHAIN = "chain"


def take_on(wave: Wave, visit: Visit) -> None:
    """Bring a job up to what its node did: accepted → assigned, first progress → running."""
    job, offer = visit.job, visit.offer
    if offer is None or offer.state is not OfferState.ACCEPTED:
        return
    if job.state is JobState.OFFERED:
        visit.move(JobState.ASSIGNED, Reason.ACCEPTED, offer.node_id, wave.now)
        job.assigned_at = offer.decided_at
        if offer.decided_at is not None:
            answer_ms = int((offer.decided_at - offer.created_at).total_seconds() * 1000)
            change = wave.slot_change(offer.node_id)
            change.response_ms = max(1, answer_ms, change.response_ms)
    if job.state is JobState.ASSIGNED and offer.started_at is not None:
        visit.move(JobState.RUNNING, Reason.STARTED, offer.node_id, wave.now)
        job.started_at = offer.started_at


def release(wave: Wave, visit: Visit, closed: OfferState, *, completed: int = 0, failed: int = 0) -> None:
    """Give the offer's slots back to its node and count the outcome."""
    offer = visit.offer
    if offer is None or not offer.holds_slots or visit.released:
        return
    visit.closed = closed
    visit.released = offer.slots
    change = wave.slot_change(offer.node_id)
    change.slots -= offer.slots
    change.completed += completed
    change.failed += failed


def admit(wave: Wave, visit: Visit) -> JobState:
    """Take a job that needs a node: whatever took the last one from it is settled first. Returns where it stands.

    FAILED when its retries or attempts are used up, else PENDING; a pending job may yet have to be finished (see
    due_to_finish), or to wait (lifecycle.waits).
    """
    job, offer = visit.job, visit.offer
    if job.state is JobState.SCHEDULED:
        visit.move(JobState.PENDING, Reason.START_DUE, ENGINE, wave.now)
        return job.state
    reason = setback(visit, wave.now)
    if reason is None or offer is None:
        return job.state
    take_on(wave, visit)
    failed = counts_as_failure(reason) and job.state in (JobState.ASSIGNED, JobState.RUNNING)
    release(wave, visit, _closing(reason), failed=int(failed))
    _count(wave, visit, offer, reason, failed)
    if counts_against_node(reason):
        exclude(job, offer.node_id)
    if visit.report is not None and visit.report.error:
        job.error = visit.report.error
    if failed:
        job.failures += 1
        if job.failures > job.max_retries:
            job.error = job.error or str(reason)
            visit.move(JobState.FAILED, Reason.RETRIES_EXHAUSTED, ENGINE, wave.now)
            return job.state
    job.not_before = retry_at(job, wave.now, failed=failed)
    if failed:
        # The time it ran was not time in the queue: it gets its full wait again.
        job.expires_at = by_deadline(job, (job.not_before or wave.now) + timedelta(seconds=job.queue_ttl_s))
    visit.move(JobState.PENDING, reason, ENGINE, wave.now)
    if job.max_attempts and job.attempt >= job.max_attempts:
        job.error = job.error or str(reason)
        visit.move(JobState.FAILED, Reason.ATTEMPTS_EXHAUSTED, ENGINE, wave.now)
        return job.state
    job.attempt += 1
    job.match_tries = 0
    job.node_id = job.offer_id = job.price = None
    job.assigned_at = job.started_at = None
    return job.state


def _count(wave: Wave, visit: Visit, offer: Offer, reason: Reason, failed: bool) -> None:
    """Note what the setback says about the node, if it was the node's doing."""
    if not visit.released:
        return
    if failed:
        away = reason in (Reason.NODE_OFFLINE, Reason.NODE_RESTARTED, Reason.LEASE_LOST)
        at = visit.report.created_at if visit.report is not None else wave.now
        wave.note(offer.node_id, at, IncidentKind.AWAY if away else IncidentKind.LOST)
    elif reason is Reason.OFFER_DECLINED:
        wave.note(offer.node_id, offer.decided_at or wave.now, IncidentKind.DECLINED)
    elif reason is Reason.OFFER_EXPIRED:
        wave.note(offer.node_id, offer.expires_at, IncidentKind.MISSED)
        # No answer is at least as slow as the slowest one that would have done.
        change = wave.slot_change(offer.node_id)
        ttl_ms = int((offer.expires_at - offer.created_at).total_seconds() * 1000)
        change.response_ms = max(1, ttl_ms, change.response_ms)


def _closing(reason: Reason) -> OfferState:
    return OfferState.EXPIRED if reason is Reason.OFFER_EXPIRED else OfferState.WITHDRAWN


def due_to_finish(wave: Wave, visit: Visit) -> bool:
    """Whether a pending job ends instead of being matched."""
    return visit.job.cancel_requested or visit.job.expires_at <= wave.now


def finish(wave: Wave, visit: Visit) -> None:
    """End the job: completed on a good report, else cancelled when asked, else expired in the queue.

    A run that is to be cancelled first gets ``wave.cancel_grace`` to stop, or to report what it has.
    """
    job = visit.job
    take_on(wave, visit)
    if visit.report is not None and visit.report.ok and job.state in _RUNS:
        node = job.node_id or ENGINE
        visit.move(JobState.COMPLETED, Reason.RESULT, node, visit.report.created_at)
        job.error = None
    elif job.cancel_requested:
        if job.state in (JobState.ASSIGNED, JobState.RUNNING) and wave.cancel_grace and _may_stop(visit):
            job.cancel_by = wave.now + wave.cancel_grace
            visit.move(JobState.CANCELLING, *_who_cancelled(visit), wave.now)
            return
        release(wave, visit, OfferState.WITHDRAWN)
        visit.move(JobState.CANCELLED, *_who_ended(visit), wave.now)
    else:
        reason = Reason.DEADLINE_PASSED if too_late(job, wave.now) else Reason.NO_NODE_IN_TIME
        visit.move(JobState.EXPIRED, reason, ENGINE, wave.now)


def _may_stop(visit: Visit) -> bool:
    """Whether the node works on the run, as far as is known, so that it can be told to stop."""
    return visit.report is None and visit.node_online and not visit.lease_lost


_RUNS = (JobState.ASSIGNED, JobState.RUNNING, JobState.CANCELLING)


def _who_cancelled(visit: Visit) -> tuple[Reason, str]:
    # Who asked is for people to read: nothing hangs on it.
    by_chain = SignalKind.CHAIN_CANCELLED in visit.signals
    return (Reason.CHAIN, CHAIN) if by_chain else (Reason.CANCEL_REQUESTED, visit.job.account)


def _who_ended(visit: Visit) -> tuple[Reason, str]:
    if visit.job.state is not JobState.CANCELLING:
        return _who_cancelled(visit)
    if visit.report is not None:
        return Reason.STOPPED, visit.job.node_id or ENGINE
    if not visit.node_online:
        return Reason.NODE_OFFLINE, ENGINE
    return (Reason.LEASE_LOST if visit.lease_lost else Reason.CANCEL_GRACE_OVER), ENGINE


def settle(wave: Wave, visit: Visit) -> None:
    """Price a completed run, count it for its node, and await its payment on chain."""
    job = visit.job
    if job.state is not JobState.COMPLETED:
        return
    release(wave, visit, OfferState.WITHDRAWN, completed=1)
    if visit.offer is not None and visit.released:
        wave.note(visit.offer.node_id, job.finished_at or wave.now, IncidentKind.GOOD)
    # A run that was ended a moment after its time costs no more than was held back for it.
    job.cost = cost_of(job)
    job.settlement = Settlement.AWAITING


def take_payment(visit: Visit) -> None:
    """Bring a completed job's settlement up to what its account on chain says: several moves, if need be."""
    while (due := next_settlement(visit.job.settlement, visit.chain)) is not None:
        visit.settle(*due, CHAIN)
