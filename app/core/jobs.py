"""Plain records of the job aggregate, as the store hands them to services and graphs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from app.core.chain import ChainView
from app.core.events import Reason
from app.core.requirements import Requirements
from app.core.states import (
    JOB_FINAL,
    JOB_MOVES,
    SETTLEMENT_MOVES,
    ExcludeNodes,
    JobState,
    OfferState,
    Settlement,
    check_move,
)


@dataclass(slots=True)
class Job:
    """A job's row without its payload. Amounts in base units of HYPER; ``price`` and ``max_price`` per GPU-hour.

    ``requirements_hash``: of the request that made it, empty for jobs from before there were any. ``chain_job``:
    address of its account on chain, None while it has none. ``key_id``: the API key that submitted it. ``deadline_at``:
    when its result is of no more use, None = never. ``not_before``: until when it waits after a lost run.
    ``cancel_by``: when a run that is being cancelled is over at the latest. ``history_head``: hash of its last history
    row. ``plan_id``, ``plan_unit``: the plan that it is a job of, and of which of its units. ``max_cost``: what it may
    cost at most, None = whatever its run comes to; ``spend_day``: the day of its key's cap that it counts for.
    """

    id: str
    account: str
    type: str
    state: JobState
    settlement: Settlement
    reason: str
    attempt: int
    failures: int
    version: int
    requirements: Requirements
    policy: str
    priority: int
    timeout_s: int
    max_retries: int
    queue_ttl_s: int
    excluded: list[str]
    match_tries: int
    cancel_requested: bool
    node_id: str | None
    offer_id: str | None
    price: int | None
    cost: int | None
    error: str | None
    created_at: datetime
    expires_at: datetime
    assigned_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    requirements_hash: str = ""
    chain_job: str | None = None
    key_id: str = ""
    deadline_at: datetime | None = None
    max_attempts: int = 0
    retry_backoff_s: int = 0
    retry_backoff_max_s: int = 0
    exclude_nodes: ExcludeNodes = ExcludeNodes.FAILED
    start_at: datetime | None = None
    not_before: datetime | None = None
    cancel_by: datetime | None = None
    rerun_of: str | None = None
    schedule_id: str | None = None
    history_head: bytes | None = None
    plan_id: str | None = None
    plan_unit: int | None = None
    max_cost: int | None = None
    spend_day: date | None = None

    @property
    def final(self) -> bool:
        return self.state in JOB_FINAL

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds from the node's acceptance to the end, None while there is none."""
        if self.assigned_at is None or self.finished_at is None:
            return None
        return max(0, int((self.finished_at - self.assigned_at).total_seconds() * 1000))


@dataclass(slots=True)
class NewJob:
    """A job about to be submitted: all that the agent chose, already validated. ``deadline_s``: from now, 0 = none.

    ``start_at``: when it may first be matched, None = at once; its queue TTL counts from then. ``max_attempts``: offers
    it may get at all, 0 = any number. A lost run is tried again after ``retry_backoff_s``, twice as long after each
    further one, at most ``retry_backoff_max_s``.
    """

    id: str
    account: str
    key_id: str
    type: str
    payload: dict[str, Any]
    requirements: Requirements
    policy: str
    priority: int
    timeout_s: int
    max_retries: int
    queue_ttl_s: int
    source: str = "api"
    requirements_hash: str = ""
    chain_job: str | None = None
    deadline_s: int = 0
    start_at: datetime | None = None
    max_attempts: int = 0
    retry_backoff_s: int = 0
    retry_backoff_max_s: int = 0
    exclude_nodes: ExcludeNodes = ExcludeNodes.FAILED
    rerun_of: str | None = None
    schedule_id: str | None = None
    plan_id: str | None = None
    plan_unit: int | None = None
    max_cost: int | None = None
    spend_day: date | None = None
    excluded: list[str] = field(default_factory=list)

    @property
    def first_state(self) -> JobState:
        """The state it enters in."""
        return JobState.PENDING if self.start_at is None else JobState.SCHEDULED


@dataclass(slots=True)
class Offer:
    """A lease on ``slots`` of a node for one attempt of a job; ``price`` in base units per GPU-hour."""

    id: str
    job_id: str
    node_id: str
    attempt: int
    state: OfferState
    holds_slots: bool
    slots: int
    price: int
    reason: str | None
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    started_at: datetime | None
    renewed_at: datetime | None = None


@dataclass(slots=True)
class Report:
    """What a node reported for an accepted offer: success or failure, first report wins."""

    offer_id: str
    ok: bool
    error: str | None
    created_at: datetime


@dataclass(slots=True)
class Move:
    """One transition as history keeps it; ``source`` is None for a job's first state."""

    job_id: str
    source: JobState | None
    target: JobState
    attempt: int
    reason: str
    actor: str
    node_id: str | None


@dataclass(slots=True)
class SettlementMove:
    """One move of a job's settlement as its history keeps it; the first one leaves ``awaiting``."""

    job_id: str
    source: Settlement
    target: Settlement
    reason: str
    actor: str


@dataclass(slots=True)
class Visit:
    """One job in a wave: its locked rows, and what the graph decided about it so far.

    ``lease_lost``: whether its node neither reported progress nor was heard from for as long as a lease lasts.
    ``moves`` and ``settlements`` are applied to ``job`` as they are made; ``origin`` keeps what the rows said, for the
    guarded write. ``chain``: what the job's account on chain says, where that may matter. ``explanation``: of the match
    made in this wave; ``inputs``: what it takes to make that match again.
    """

    job: Job
    offer: Offer | None
    report: Report | None
    signals: set[str]
    node_online: bool = True
    node_draining: bool = False
    lease_lost: bool = False
    chain: ChainView | None = None
    origin: tuple[JobState, int, int] = field(init=False)
    moves: list[Move] = field(default_factory=list)
    settlements: list[SettlementMove] = field(default_factory=list)
    new_offer: Offer | None = None
    closed: OfferState | None = None
    released: int = 0
    explanation: dict[str, Any] | None = None
    inputs: dict[str, Any] | None = None
    next_look: datetime | None = None

    def __post_init__(self) -> None:
        self.origin = (self.job.state, self.job.attempt, self.job.version)

    def move(self, target: JobState, reason: Reason, actor: str, at: datetime) -> None:
        """Move the job, keeping history; raises IllegalTransition outside the table."""
        job = self.job
        check_move(JOB_MOVES, job.state, target)
        self.moves.append(Move(job.id, job.state, target, job.attempt, reason, actor, job.node_id))
        job.state = target
        job.reason = reason
        job.version += 1
        if target in JOB_FINAL:
            job.finished_at = at

    def settle(self, target: Settlement, reason: str, actor: str) -> None:
        """Move the job's settlement, keeping history; raises IllegalTransition outside the table."""
        job = self.job
        check_move(SETTLEMENT_MOVES, job.settlement, target)
        self.settlements.append(SettlementMove(job.id, job.settlement, target, reason, actor))
        job.settlement = target
        job.version += 1
