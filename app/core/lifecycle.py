"""What a job's rows call for next: pure decisions of the job graph, from the rows alone.

Signals only say *look*: two deliveries of one signal, a lost one made up for by a timer, or signals out of order all
lead to the same decision, because nothing is decided from the signal itself.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum

from app.core.chain import ChainView, PaymentState
from app.core.events import EventKind, Reason
from app.core.jobs import Job, Offer, Visit
from app.core.money import run_cost
from app.core.states import ExcludeNodes, JobState, OfferState, Settlement

LONGEST_WAIT_S = 30.0
"""Between two looks at a job that waits for a node, when nothing else calls for one."""

_CONTENDED_S = 2.0
_REPEAT_S = 1.0

RESTARTED = "the node restarted"
"""The error of a run that its node gave up by registering afresh."""


class Phase(StrEnum):
    """Which node of the graph takes the visit first."""

    ADMIT = "admit"
    """Needs a node: a pending job, or one whose node declined, went silent, failed or ran out of time."""
    START = "start"
    """The node accepted, or reported its first progress."""
    FINISH = "finish"
    """Ends now."""
    SETTLE = "settle"
    """Is completed, and its payment on chain is not what it was."""
    REST = "rest"
    """Nothing to do: a duplicate signal, or one that came too late or too early."""


def setback(visit: Visit, now: datetime) -> Reason | None:
    """Why the job loses its node, or None while it may keep it. A report in hand beats silence and time-outs."""
    job, offer = visit.job, visit.offer
    if offer is None or job.state is JobState.PENDING or job.final:
        return None
    if offer.state is OfferState.DECLINED:
        return Reason.OFFER_DECLINED
    if offer.state is OfferState.OPEN:
        if too_late(job, now):
            return Reason.DEADLINE_PASSED
        if offer.expires_at <= now:
            return Reason.OFFER_EXPIRED
        if not visit.node_online:
            return Reason.NODE_OFFLINE
        return Reason.DRAINED if visit.node_draining else None
    if offer.state is not OfferState.ACCEPTED:
        return Reason.OFFER_EXPIRED
    if visit.report is not None:
        if visit.report.ok:
            return None
        return Reason.NODE_RESTARTED if visit.report.error == RESTARTED else Reason.RUN_FAILED
    if _time_out(visit, offer) <= now:
        return Reason.RUN_TIMED_OUT
    if too_late(job, now):
        return Reason.DEADLINE_PASSED
    if not visit.node_online:
        return Reason.NODE_OFFLINE
    return Reason.LEASE_LOST if visit.lease_lost else None


def run_deadline(visit: Visit, offer: Offer) -> datetime:
    """When the run must have reported: its time-out, which counts from the node's acceptance, or the job's deadline."""
    return by_deadline(visit.job, _time_out(visit, offer))


def _time_out(visit: Visit, offer: Offer) -> datetime:
    return (offer.decided_at or offer.created_at) + timedelta(seconds=visit.job.timeout_s)


def by_deadline(job: Job, at: datetime) -> datetime:
    """``at``, or the job's deadline if that comes first: when waits, offers and runs end."""
    return at if job.deadline_at is None else min(at, job.deadline_at)


def too_late(job: Job, now: datetime) -> bool:
    """Whether the job's deadline has passed: a result would be of no more use."""
    return job.deadline_at is not None and job.deadline_at <= now


def phase_of(visit: Visit, now: datetime) -> Phase:
    """The first phase a visit goes to; a job that starts and finishes in one wave goes on from start by itself."""
    job = visit.job
    if job.final:
        return Phase.REST if next_settlement(job.settlement, visit.chain) is None else Phase.SETTLE
    if job.state in (JobState.BLOCKED, JobState.SCHEDULED, JobState.PENDING):
        return _phase_off_node(job, now)
    if job.state is JobState.CANCELLING:
        return Phase.FINISH if stopped(visit, now) else Phase.REST
    reported = visit.report is not None and visit.report.ok
    if job.cancel_requested and not reported:
        return Phase.FINISH
    if setback(visit, now) is not None:
        return Phase.ADMIT
    offer = visit.offer
    if offer is None or offer.state is not OfferState.ACCEPTED:
        return Phase.REST
    if job.state is JobState.OFFERED or (job.state is JobState.ASSIGNED and offer.started_at is not None):
        return Phase.START
    return Phase.FINISH if reported else Phase.REST


def _phase_off_node(job: Job, now: datetime) -> Phase:
    if job.cancel_requested:
        return Phase.FINISH
    if job.state is JobState.SCHEDULED:
        return Phase.ADMIT if starts(job, now) else Phase.REST
    if job.state is JobState.BLOCKED:
        return Phase.REST
    if job.expires_at <= now:
        return Phase.FINISH
    return Phase.REST if waits(job, now) else Phase.ADMIT


def starts(job: Job, now: datetime) -> bool:
    """Whether a scheduled job's time has come."""
    return job.start_at is None or job.start_at <= now


def waits(job: Job, now: datetime) -> bool:
    """Whether a pending job may not be matched yet, as it lost a run a moment ago."""
    return job.not_before is not None and job.not_before > now


def stopped(visit: Visit, now: datetime) -> bool:
    """Whether a run that is being cancelled is over: its node said so, is gone, or has had its time."""
    job = visit.job
    return (
        visit.report is not None
        or not visit.node_online
        or visit.lease_lost
        or job.cancel_by is None
        or job.cancel_by <= now
    )


SETTLEMENT_EVENT: dict[Settlement, EventKind] = {
    Settlement.AWAITING: EventKind.PAYMENT_REVERTED,
    Settlement.OBSERVED: EventKind.PAYMENT_OBSERVED,
    Settlement.SETTLED: EventKind.PAYMENT_DISTRIBUTED,
    Settlement.DISPUTED: EventKind.PAYMENT_DISPUTED,
}
"""The event that tells of a settlement's move (a completed job awaits its payment without another word)."""


def next_settlement(settlement: Settlement, chain: ChainView | None) -> tuple[Settlement, str] | None:
    """The move that a job's payment calls for and its reason, None when there is none; ask again after each.

    Only what is final settles or disputes: an operator's mismatch waits for the payment's finality, too.
    """
    if chain is None:
        return None
    payment = chain.payment
    final = payment in (PaymentState.VALID, PaymentState.INVALID)
    good = payment is PaymentState.VALID and chain.mismatch is None
    if settlement is Settlement.AWAITING and payment is not PaymentState.NONE:
        return Settlement.OBSERVED, Reason.PAYMENT_SEEN
    if settlement is Settlement.OBSERVED and payment is PaymentState.NONE:
        return Settlement.AWAITING, Reason.PAYMENT_GONE
    if settlement is Settlement.OBSERVED and final and not good:
        wrong = chain.reason if payment is PaymentState.INVALID else chain.mismatch
        return Settlement.DISPUTED, wrong or Reason.PAYMENT_FINAL
    if settlement in (Settlement.OBSERVED, Settlement.DISPUTED) and good:
        return Settlement.SETTLED, Reason.PAYMENT_FINAL
    return None


def operator_mismatch(ours: Collection[str], assigned: str | None, completed: str | None) -> str | None:
    """Which operator on chain is none of ``ours`` (the wallets of the node that has the job), None while all are."""
    if completed is not None and completed not in ours:
        return "completed_operator"
    return "assigned_operator" if assigned is not None and assigned not in ours else None


def counts_as_failure(reason: Reason) -> bool:
    """Whether a setback uses up one of the job's retries: declines and late answers to an offer do not."""
    return reason in (
        Reason.RUN_FAILED,
        Reason.RUN_TIMED_OUT,
        Reason.NODE_RESTARTED,
        Reason.NODE_OFFLINE,
        Reason.LEASE_LOST,
    )


def counts_against_node(reason: Reason) -> bool:
    """Whether the node is out for this job: not when it only went away, was drained or started again."""
    return reason not in (Reason.NODE_OFFLINE, Reason.NODE_RESTARTED, Reason.DRAINED, Reason.DEADLINE_PASSED)


def cost_of(job: Job) -> int:
    """What a completed job costs in base units: its run, and no more than was held back for it (``max_cost``)."""
    cost = run_cost(job.price or 0, job.requirements.gpus, job.duration_ms or 0)
    return cost if job.max_cost is None else min(cost, job.max_cost)


def exclude(job: Job, node_id: str) -> None:
    """Rule out a node after a setback that speaks against it, as the job asked."""
    if job.exclude_nodes is ExcludeNodes.LAST:
        job.excluded = [node_id]
    elif job.exclude_nodes is ExcludeNodes.FAILED and node_id not in job.excluded:
        job.excluded.append(node_id)


def retry_at(job: Job, now: datetime, *, failed: bool) -> datetime | None:
    """When a job that lost its node may be matched again, None = at once. ``failed``: whether it lost a run.

    The wait doubles with each lost run. Where no node is ruled out, one that declines would get the job again and again
    without a pause.
    """
    if failed and job.retry_backoff_s:
        longest = max(job.retry_backoff_s, job.retry_backoff_max_s)
        return now + timedelta(seconds=min(longest, job.retry_backoff_s * 2.0 ** min(job.failures - 1, 30)))
    return now + timedelta(seconds=_REPEAT_S) if job.exclude_nodes is ExcludeNodes.NONE else None


def next_match_look(visit: Visit, now: datetime, contended: bool) -> datetime:
    """When to try again for a job that found no node; soon where nodes were left out as other waves held them.

    Slots that become free wake those who wait for them (app/services/backlog.py): this is for what nobody tells of.
    """
    longest = _CONTENDED_S if contended else LONGEST_WAIT_S
    wait = min(longest, (0.1 if contended else 1.0) * 2.0 ** min(visit.job.match_tries, 10))
    return min(now + timedelta(seconds=wait), visit.job.expires_at)


def rank_at(job: Job, age: timedelta) -> datetime:
    """The job's rank in the backlog, less is more urgent: when it was submitted, ``age`` earlier a step of priority."""
    return job.created_at - job.priority * age
