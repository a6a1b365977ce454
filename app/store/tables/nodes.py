"""Tables of the node aggregate.

``nodes`` holds what waves lock: identity, standing and slot counters. Heartbeats and telemetry have a table of their
own, so that a flush of heartbeats never waits for a wave.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, text
from sqlmodel import Field, SQLModel

from app.core.states import NodeState
from app.store.tables.columns import (
    amount_column,
    id_column,
    int_column,
    json_column,
    name_column,
    one_of,
    small_column,
    time_column,
)


class Node(SQLModel, table=True):
    """One GPU node. ``active_jobs`` counts slots in use: a job takes as many slots as it asked GPUs.

    ``penalty`` (0..1000 points off the reputation in the ranking) rises with declines and failures and decays from
    ``penalised_at``. ``failures_in_row``: runs lost since the last good one. ``suspended_until``: set while the circuit
    breaker shuts the node out, ``suspensions`` times so far; after that ``trial`` good jobs, one at a time, let it in.

    ``capacity_max``: the most slots it ever had, where it has fewer now, for audits of what was before.

    ``changed_in`` is the transaction that last wrote the row: views refresh by it against the snapshot horizon, which
    never misses a late commit as a plain counter does.
    """

    __tablename__: ClassVar[Any] = "nodes"
    __table_args__: ClassVar[Any] = (
        one_of("state", NodeState, "nodes_state"),
        CheckConstraint("active_jobs BETWEEN 0 AND capacity", name="nodes_active_jobs"),
        CheckConstraint("capacity BETWEEN 1 AND 64 AND gpus BETWEEN 0 AND 64", name="nodes_capacity"),
        CheckConstraint("reputation BETWEEN 0 AND 1000", name="nodes_reputation"),
        CheckConstraint("price > 0 AND stake >= 0", name="nodes_amounts"),
        CheckConstraint("jobs_completed >= 0 AND jobs_failed >= 0", name="nodes_counts"),
        CheckConstraint(
            "penalty BETWEEN 0 AND 1000 AND failures_in_row >= 0 AND trial >= 0 AND suspensions >= 0",
            name="nodes_health",
        ),
        # Few rows at a time: what the sweeper lets decay and lets back in.
        Index("nodes_penalised", "penalised_at", postgresql_where=text("penalty > 0")),
        Index("nodes_suspended_until", "suspended_until", postgresql_where=text("suspended_until IS NOT NULL")),
        Index("nodes_account", "account"),
        # Block ranges and room on the pages: with a tree, every write would have to rewrite all indexes (no HOT).
        Index(
            "nodes_changed_in",
            "changed_in",
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 32, "autosummarize": True},
        ),
        {"postgresql_with": {"fillfactor": 60}},
    )

    id: str = Field(sa_column=id_column(primary_key=True))
    account: str = Field(sa_column=name_column(80))
    wallet: str = Field(sa_column=Column("wallet", name_column(80).type, nullable=False, unique=True))
    state: str = Field(sa_column=name_column(12, default=NodeState.REGISTERED))
    gpu_model: str = Field(sa_column=name_column(80))
    gpus: int = Field(sa_column=small_column(default=1))
    vram_gb: int = Field(sa_column=small_column(default=0))
    capabilities: int = Field(sa_column=int_column(default=0))
    region: str = Field(sa_column=name_column(2, default=""))
    reputation: int = Field(sa_column=small_column(default=100))
    stake: int = Field(sa_column=amount_column(default=0))
    price: int = Field(sa_column=amount_column())
    jobs_completed: int = Field(sa_column=int_column(default=0))
    jobs_failed: int = Field(sa_column=int_column(default=0))
    response_ms: int = Field(sa_column=int_column(default=0))
    capacity: int = Field(sa_column=small_column(default=1))
    capacity_max: int = Field(sa_column=small_column(default=0))
    active_jobs: int = Field(sa_column=small_column(default=0))
    penalty: int = Field(sa_column=small_column(default=0))
    penalised_at: datetime | None = Field(sa_column=time_column(nullable=True))
    failures_in_row: int = Field(sa_column=small_column(default=0))
    trial: int = Field(sa_column=small_column(default=0))
    suspensions: int = Field(sa_column=small_column(default=0))
    suspended_until: datetime | None = Field(sa_column=time_column(nullable=True))
    version: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("1")))
    changed_in: int = Field(
        sa_column=Column(BigInteger, nullable=False, server_default=text("pg_current_xact_id()::text::bigint"))
    )
    details: dict[str, Any] = Field(sa_column=json_column())
    created_at: datetime = Field(sa_column=time_column(now=True))


class NodeHeartbeat(SQLModel, table=True):
    """When a node was last heard from, by the database clock, and what it said of itself."""

    __tablename__: ClassVar[Any] = "node_heartbeats"
    __table_args__: ClassVar[Any] = (
        Index(
            "node_heartbeats_seen",
            "last_seen_at",
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 32, "autosummarize": True},
        ),
        {"postgresql_with": {"fillfactor": 50}},
    )

    node_id: str = Field(sa_column=id_column(primary_key=True))
    last_seen_at: datetime = Field(sa_column=time_column(now=True))
    gpu_utilization: int | None = Field(sa_column=int_column(nullable=True))


class NodeHistory(SQLModel, table=True):
    """One row a node transition."""

    __tablename__: ClassVar[Any] = "node_history"
    __table_args__: ClassVar[Any] = (Index("node_history_node", "node_id", "at"),)

    id: str = Field(sa_column=id_column(primary_key=True))
    node_id: str = Field(sa_column=id_column())
    from_state: str | None = Field(sa_column=name_column(12, nullable=True))
    to_state: str = Field(sa_column=name_column(12))
    reason: str = Field(sa_column=name_column(40))
    actor: str = Field(sa_column=name_column(80))
    at: datetime = Field(sa_column=time_column(now=True))
