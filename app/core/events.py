"""Names of what happens: events told to the outside, signals told to the job graph, reasons kept in history."""

from __future__ import annotations

from enum import StrEnum

from app.core.states import JobState


class EventKind(StrEnum):
    """Events in the feed. Those in NOTIFIED also go to webhooks."""

    JOB_SUBMITTED = "job_submitted"
    JOB_RELEASED = "job_released"
    """A scheduled job's start time has come."""
    JOB_OFFERED = "job_offered"
    JOB_MATCHED = "job_matched"
    JOB_STARTED = "job_started"
    JOB_PROGRESS = "job_progress"
    JOB_REQUEUED = "job_requeued"
    JOB_COMPLETED = "job_completed"
    JOB_FAILED = "job_failed"
    JOB_CANCELLING = "job_cancelling"
    JOB_CANCELLED = "job_cancelled"
    JOB_EXPIRED = "job_expired"
    NODE_REGISTERED = "node_registered"
    NODE_ONLINE = "node_online"
    NODE_OFFLINE = "node_offline"
    NODE_DRAINING = "node_draining"
    NODE_SUSPENDED = "node_suspended"
    NODE_DEREGISTERED = "node_deregistered"
    PAYMENT_OBSERVED = "payment_observed"
    """A payment of the job is on chain, and may yet be forked out."""
    PAYMENT_REVERTED = "payment_reverted"
    """The observed payment was forked out."""
    PAYMENT_DISTRIBUTED = "payment_distributed"
    """The payment is final, and is what it should be."""
    PAYMENT_DISPUTED = "payment_disputed"
    """The payment is final, and is not what it should be."""
    JOB_LINKED = "job_linked"
    """The job and an account on chain belong together from now on."""
    OPERATOR_MISMATCH = "operator_mismatch"
    """On chain another operator was assigned, or reported the result, than the one the engine chose."""
    PLAN_SUBMITTED = "plan_submitted"
    PLAN_COMPLETED = "plan_completed"
    PLAN_FAILED = "plan_failed"
    PLAN_CANCELLED = "plan_cancelled"
    OPERATOR_MESSAGE = "operator_message"
    """Sent by hand through /internal/webhooks/trigger."""


NOTIFIED = frozenset(
    {
        EventKind.JOB_SUBMITTED,
        EventKind.JOB_MATCHED,
        EventKind.JOB_STARTED,
        EventKind.JOB_COMPLETED,
        EventKind.JOB_FAILED,
        EventKind.JOB_CANCELLED,
        EventKind.JOB_EXPIRED,
        EventKind.NODE_REGISTERED,
        EventKind.NODE_OFFLINE,
        EventKind.PAYMENT_DISTRIBUTED,
        EventKind.PAYMENT_DISPUTED,
        EventKind.OPERATOR_MISMATCH,
        EventKind.PLAN_COMPLETED,
        EventKind.PLAN_FAILED,
        EventKind.PLAN_CANCELLED,
        EventKind.OPERATOR_MESSAGE,
    }
)

TOLD_AGENTS = NOTIFIED - {EventKind.OPERATOR_MESSAGE}
"""Those that agents' own webhooks are told of, as far as they are of their account."""

LAST_EVENTS = frozenset(
    {
        EventKind.JOB_COMPLETED,
        EventKind.JOB_FAILED,
        EventKind.JOB_CANCELLED,
        EventKind.JOB_EXPIRED,
        EventKind.PLAN_COMPLETED,
        EventKind.PLAN_FAILED,
        EventKind.PLAN_CANCELLED,
    }
)
"""Those that end a job or a plan."""

JOB_EVENT: dict[JobState, EventKind] = {
    JobState.PENDING: EventKind.JOB_REQUEUED,
    JobState.OFFERED: EventKind.JOB_OFFERED,
    JobState.ASSIGNED: EventKind.JOB_MATCHED,
    JobState.RUNNING: EventKind.JOB_STARTED,
    JobState.CANCELLING: EventKind.JOB_CANCELLING,
    JobState.COMPLETED: EventKind.JOB_COMPLETED,
    JobState.FAILED: EventKind.JOB_FAILED,
    JobState.CANCELLED: EventKind.JOB_CANCELLED,
    JobState.EXPIRED: EventKind.JOB_EXPIRED,
}
"""The event that tells of a job's arrival in a state (a job's first state is told as job_submitted)."""


class SignalKind(StrEnum):
    """Why a job deserves a look. Signals carry no truth of their own: the graph decides from the rows."""

    SUBMITTED = "submitted"
    MATCH_DUE = "match_due"
    OFFER_ACCEPTED = "offer_accepted"
    OFFER_DECLINED = "offer_declined"
    OFFER_EXPIRED = "offer_expired"
    PROGRESS = "progress"
    RESULT = "result"
    FAILURE = "failure"
    LEASE_LOST = "lease_lost"
    CANCEL_REQUESTED = "cancel_requested"
    DEADLINE = "deadline"
    START_DUE = "start_due"
    CANCEL_DUE = "cancel_due"
    CHAIN_CREATED = "chain_created"
    CHAIN_CANCELLED = "chain_cancelled"
    CHAIN_PAYMENT = "chain_payment"


class Reason(StrEnum):
    """Reason codes of transitions, kept in history and shown to agents."""

    SUBMITTED = "submitted"
    SCHEDULED = "scheduled"
    """Submitted with a start time ahead."""
    START_DUE = "start_due"
    """The start time has come."""
    MATCHED = "matched"
    ACCEPTED = "accepted"
    STARTED = "started"
    RESULT = "result"
    OFFER_DECLINED = "offer_declined"
    OFFER_EXPIRED = "offer_expired"
    NODE_OFFLINE = "node_offline"
    RUN_FAILED = "run_failed"
    RUN_TIMED_OUT = "run_timed_out"
    NODE_RESTARTED = "node_restarted"
    RETRIES_EXHAUSTED = "retries_exhausted"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    """It was offered as often as it may be."""
    LEASE_LOST = "lease_lost"
    """Neither progress of the run nor a heartbeat of its node for as long as a lease lasts."""
    CANCEL_REQUESTED = "cancel_requested"
    STOPPED = "stopped"
    """The node stopped the cancelled run."""
    CANCEL_GRACE_OVER = "cancel_grace_over"
    """The node said nothing more of the cancelled run in the time it had."""
    NO_NODE_IN_TIME = "no_node_in_time"
    DEADLINE_PASSED = "deadline_passed"
    """The job's own deadline came before its result."""
    HEARTBEAT = "heartbeat"
    SILENT = "silent"
    FAILING = "failing"
    """The circuit breaker shut the node out: too many runs lost in a row, or one of them on trial."""
    COOLED_DOWN = "cooled_down"
    """The circuit breaker's suspension is over."""
    DRAINED = "drained"
    REGISTERED = "registered"
    OPERATOR = "operator"
    CHAIN = "chain"
    PAYMENT_SEEN = "payment_seen"
    PAYMENT_FINAL = "payment_final"
    PAYMENT_GONE = "payment_gone"
    CREATION_GONE = "creation_gone"
