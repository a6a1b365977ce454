"""Tables of the job aggregate: the job, its offers, its results, its history."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, Identity, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from app.core.requirements import JobType
from app.core.states import JOB_FINAL, JOB_ON_NODE, ExcludeNodes, JobState, OfferState, Settlement
from app.store.tables.columns import (
    amount_column,
    bool_column,
    hash_column,
    id_column,
    int_column,
    json_column,
    json_text_column,
    key_column,
    name_column,
    names_column,
    one_of,
    small_column,
    text_column,
    time_column,
    total_column,
)


def _listed(states: frozenset[JobState]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))


class Job(SQLModel, table=True):
    """One job. ``attempt`` rises whenever the job goes back to pending; ``version`` rises with every move.

    ``deadline_at``: when its result is of no more use, None = never. ``start_at``: when a scheduled job becomes
    pending. ``not_before``: until when a job that lost a run waits before it is matched again. ``max_attempts``: offers
    it may get at all, 0 = any number. ``exclude_nodes``: which nodes are out for it after a setback. ``cancel_by``:
    when a run that is being cancelled is over at the latest. ``history_head``: hash of its last history row.
    ``plan_id`` and ``plan_unit``: the plan that it is a job of, and of which of its units. ``max_cost``: what it may
    cost at most, held back from a budget; ``spend_day``: the day of its key's cap that it counts for. None without.
    """

    __tablename__: ClassVar[Any] = "jobs"
    __table_args__: ClassVar[Any] = (
        one_of("state", JobState, "jobs_state"),
        one_of("type", JobType, "jobs_type"),
        one_of("settlement", Settlement, "jobs_settlement"),
        CheckConstraint(f"(state IN ({_listed(JOB_FINAL)})) = (finished_at IS NOT NULL)", name="jobs_finished_at"),
        CheckConstraint(f"state NOT IN ({_listed(JOB_ON_NODE)}) OR offer_id IS NOT NULL", name="jobs_on_node"),
        CheckConstraint("state NOT IN ('blocked', 'scheduled', 'pending') OR offer_id IS NULL", name="jobs_off_node"),
        CheckConstraint("state <> 'completed' OR cost IS NOT NULL", name="jobs_completed_cost"),
        CheckConstraint("attempt >= 1 AND failures >= 0 AND failures < attempt + 1", name="jobs_attempt"),
        CheckConstraint("gpus BETWEEN 1 AND 64", name="jobs_gpus"),
        CheckConstraint("max_price > 0", name="jobs_max_price"),
        CheckConstraint("cost >= 0", name="jobs_cost"),
        CheckConstraint(
            "max_attempts >= 0 AND retry_backoff_s >= 0 AND retry_backoff_max_s >= retry_backoff_s", name="jobs_retry"
        ),
        one_of("exclude_nodes", ExcludeNodes, "jobs_exclude_nodes"),
        CheckConstraint("state <> 'cancelling' OR cancel_by IS NOT NULL", name="jobs_cancelling"),
        CheckConstraint("state <> 'scheduled' OR start_at IS NOT NULL", name="jobs_scheduled"),
        # No index on what moves change, and room on the pages: a move then rewrites no index (HOT).
        Index("jobs_account_id", "account", "id"),
        # For jobs that come on chain, which have the hash, too: the oldest that is not on chain yet.
        Index(
            "jobs_requirements_hash",
            "requirements_hash",
            "id",
            postgresql_where=text("requirements_hash <> '' AND chain_job IS NULL"),
        ),
        Index("jobs_plan", "plan_id", postgresql_where=text("plan_id IS NOT NULL")),
        CheckConstraint(
            "max_cost >= 0 AND (cost IS NULL OR max_cost IS NULL OR cost <= max_cost)", name="jobs_max_cost"
        ),
        {"postgresql_with": {"fillfactor": 60}},
    )

    id: str = Field(sa_column=id_column(primary_key=True))
    account: str = Field(sa_column=name_column(80))
    key_id: str = Field(sa_column=id_column())
    source: str = Field(sa_column=name_column(20, default="api"))
    type: str = Field(sa_column=name_column(20))
    state: str = Field(sa_column=name_column(12))
    settlement: str = Field(sa_column=name_column(12, default="none"))
    reason: str = Field(sa_column=name_column(40))
    attempt: int = Field(sa_column=int_column(default=1))
    failures: int = Field(sa_column=int_column(default=0))
    version: int = Field(sa_column=int_column(default=1))
    payload: dict[str, Any] = Field(sa_column=json_column())
    gpu_models: list[str] = Field(sa_column=names_column())
    gpus: int = Field(sa_column=small_column(default=1))
    min_vram_gb: int = Field(sa_column=small_column(default=0))
    capabilities: int = Field(sa_column=int_column(default=0))
    region: str = Field(sa_column=name_column(2, default=""))
    min_reputation: int = Field(sa_column=small_column(default=0))
    max_price: int | None = Field(sa_column=amount_column(nullable=True))
    requirements_hash: str = Field(sa_column=name_column(64, default=""))
    chain_job: str | None = Field(sa_column=key_column(nullable=True))
    policy: str = Field(sa_column=name_column(40))
    priority: int = Field(sa_column=small_column(default=0))
    timeout_s: int = Field(sa_column=int_column())
    max_retries: int = Field(sa_column=small_column(default=3))
    queue_ttl_s: int = Field(sa_column=int_column())
    max_attempts: int = Field(sa_column=int_column(default=0))
    retry_backoff_s: int = Field(sa_column=int_column(default=0))
    retry_backoff_max_s: int = Field(sa_column=int_column(default=0))
    exclude_nodes: str = Field(sa_column=name_column(12, default=ExcludeNodes.FAILED))
    start_at: datetime | None = Field(sa_column=time_column(nullable=True))
    not_before: datetime | None = Field(sa_column=time_column(nullable=True))
    cancel_by: datetime | None = Field(sa_column=time_column(nullable=True))
    rerun_of: str | None = Field(sa_column=id_column(nullable=True))
    schedule_id: str | None = Field(sa_column=id_column(nullable=True))
    history_head: bytes | None = Field(sa_column=hash_column())
    plan_id: str | None = Field(sa_column=id_column(nullable=True))
    plan_unit: int | None = Field(sa_column=int_column(nullable=True))
    max_cost: int | None = Field(sa_column=amount_column(nullable=True))
    spend_day: date | None = Field(sa_column=Column(Date, nullable=True))
    excluded: list[str] = Field(sa_column=names_column())
    match_tries: int = Field(sa_column=int_column(default=0))
    cancel_requested: bool = Field(sa_column=bool_column(default=False))
    node_id: str | None = Field(sa_column=id_column(nullable=True))
    offer_id: str | None = Field(sa_column=id_column(nullable=True))
    price: int | None = Field(sa_column=amount_column(nullable=True))
    cost: int | None = Field(sa_column=amount_column(nullable=True))
    error: str | None = Field(sa_column=text_column())
    created_at: datetime = Field(sa_column=time_column(now=True))
    expires_at: datetime = Field(sa_column=time_column())
    deadline_at: datetime | None = Field(sa_column=time_column(nullable=True))
    assigned_at: datetime | None = Field(sa_column=time_column(nullable=True))
    started_at: datetime | None = Field(sa_column=time_column(nullable=True))
    finished_at: datetime | None = Field(sa_column=time_column(nullable=True))


class Offer(SQLModel, table=True):
    """A lease on ``slots`` of one node for one attempt of one job; ``holds_slots`` until the attempt is over.

    ``token``: fences the lease: it rises from offer to offer. ``renewed_at``: when its node last reported progress; its
    node's heartbeats renew it, too.
    """

    __tablename__: ClassVar[Any] = "offers"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("job_id", "attempt", name="offers_job_attempt"),
        one_of("state", OfferState, "offers_state"),
        CheckConstraint("holds_slots OR state <> 'open'", name="offers_open_holds"),
        CheckConstraint("NOT holds_slots OR state IN ('open', 'accepted', 'declined')", name="offers_closed_free"),
        CheckConstraint("slots >= 1 AND price > 0", name="offers_positive"),
        Index("offers_held", "job_id", unique=True, postgresql_where=text("holds_slots")),
        Index("offers_node_held", "node_id", postgresql_where=text("holds_slots")),
        {"postgresql_with": {"fillfactor": 60}},
    )

    id: str = Field(sa_column=id_column(primary_key=True))
    job_id: str = Field(sa_column=id_column())
    node_id: str = Field(sa_column=id_column())
    attempt: int = Field(sa_column=int_column())
    state: str = Field(sa_column=name_column(12, default="open"))
    holds_slots: bool = Field(sa_column=bool_column(default=True))
    slots: int = Field(sa_column=small_column(default=1))
    price: int = Field(sa_column=amount_column())
    reason: str | None = Field(sa_column=text_column())
    created_at: datetime = Field(sa_column=time_column(now=True))
    expires_at: datetime = Field(sa_column=time_column())
    decided_at: datetime | None = Field(sa_column=time_column(nullable=True))
    started_at: datetime | None = Field(sa_column=time_column(nullable=True))
    renewed_at: datetime | None = Field(sa_column=time_column(nullable=True))
    token: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False))


class Result(SQLModel, table=True):
    """What a node reported for one attempt, first report wins. ``digest``: sha256 of the canonical report.

    ``late``: it came when the attempt was over; it is kept, and counts for nothing.
    """

    __tablename__: ClassVar[Any] = "results"
    __table_args__: ClassVar[Any] = (CheckConstraint("ok OR error IS NOT NULL", name="results_error"),)

    offer_id: str = Field(sa_column=id_column(primary_key=True))
    job_id: str = Field(sa_column=id_column())
    node_id: str = Field(sa_column=id_column())
    attempt: int = Field(sa_column=int_column())
    ok: bool = Field(sa_column=bool_column(default=True))
    body: Any = Field(sa_column=json_column(nullable=True, default=None))
    logs: list[Any] = Field(sa_column=json_column(default="[]"))
    metrics: dict[str, Any] = Field(sa_column=json_column())
    error: str | None = Field(sa_column=text_column())
    digest: str = Field(sa_column=name_column(64))
    late: bool = Field(sa_column=bool_column(default=False))
    created_at: datetime = Field(sa_column=time_column(now=True))


class JobHistory(SQLModel, table=True):
    """One row a transition, in the order of ``seq``; written in the transaction of the move.

    ``hash``: of the row and the hash of the job's row before (app/core/chaining.py); None on rows from before there
    were any. Partitioned by time (app/store/partitions.py).
    """

    __tablename__: ClassVar[Any] = "job_history"
    __table_args__: ClassVar[Any] = ({"postgresql_partition_by": "RANGE (at)"},)

    job_id: str = Field(sa_column=id_column(primary_key=True))
    seq: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    at: datetime = Field(sa_column=time_column(now=True, primary_key=True))
    from_state: str | None = Field(sa_column=name_column(12, nullable=True))
    to_state: str = Field(sa_column=name_column(12))
    attempt: int = Field(sa_column=int_column())
    reason: str = Field(sa_column=name_column(40))
    actor: str = Field(sa_column=name_column(80))
    node_id: str | None = Field(sa_column=id_column(nullable=True))
    hash: bytes | None = Field(sa_column=hash_column())


class JobCount(SQLModel, table=True):
    """How the number of jobs in a state changed: sums over all rows are the counts. Waves add rows, a fold merges them.

    ``key_id``: of jobs that are not over, the API key that submitted them, and ``slots`` what those of them hold that
    are on a node; empty and 0 for the others. ``run_ms`` and ``paid``: of completed jobs, the milliseconds they ran and
    what they cost.
    """

    __tablename__: ClassVar[Any] = "job_counts"
    __table_args__: ClassVar[Any] = (Index("job_counts_key", "key_id", postgresql_where=text("key_id <> ''")),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    state: str = Field(sa_column=name_column(12))
    key_id: str = Field(sa_column=name_column(40, default=""))
    change: int = Field(sa_column=amount_column())
    slots: int = Field(sa_column=amount_column(default=0))
    run_ms: int = Field(sa_column=amount_column(default=0))
    paid: int = Field(sa_column=total_column())


class Schedule(SQLModel, table=True):
    """A job to submit again and again. ``request``: the submission as its agent gave it; ``cron`` in ``timezone``.

    ``next_at``: when it is due again, None while paused or at an end. ``overlap``: whether a run is skipped while the
    last job of the schedule is not over.
    """

    __tablename__: ClassVar[Any] = "schedules"
    __table_args__: ClassVar[Any] = (
        Index("schedules_account", "account", "id"),
        Index("schedules_due", "next_at", postgresql_where=text("next_at IS NOT NULL")),
        one_of("overlap", ("allow", "skip"), "schedules_overlap"),
    )

    id: str = Field(sa_column=id_column(primary_key=True))
    account: str = Field(sa_column=name_column(80))
    key_id: str = Field(sa_column=id_column())
    name: str = Field(sa_column=name_column(80, default=""))
    cron: str = Field(sa_column=name_column(120))
    timezone: str = Field(sa_column=name_column(64, default="UTC"))
    overlap: str = Field(sa_column=name_column(12, default="allow"))
    request: dict[str, Any] = Field(sa_column=json_column())
    paused: bool = Field(sa_column=bool_column(default=False))
    runs: int = Field(sa_column=int_column(default=0))
    skipped: int = Field(sa_column=int_column(default=0))
    error: str | None = Field(sa_column=text_column())
    next_at: datetime | None = Field(sa_column=time_column(nullable=True))
    last_at: datetime | None = Field(sa_column=time_column(nullable=True))
    last_job_id: str | None = Field(sa_column=id_column(nullable=True))
    created_at: datetime = Field(sa_column=time_column(now=True))


class MatchDecision(SQLModel, table=True):
    """Why a node was (or was not) chosen for one attempt of a job; the last look counts.

    ``inputs``: what the decision was made from, enough to make it again; None for decisions from before it was kept.
    """

    __tablename__: ClassVar[Any] = "match_decisions"

    job_id: str = Field(sa_column=id_column(primary_key=True))
    attempt: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    node_id: str | None = Field(sa_column=id_column(nullable=True))
    explanation: dict[str, Any] = Field(sa_column=json_text_column())
    inputs: dict[str, Any] | None = Field(sa_column=json_text_column(nullable=True, default=None))
    at: datetime = Field(sa_column=time_column(now=True))
