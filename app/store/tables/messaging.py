"""Tables that carry messages: signals into the job graph, events out of it, their feed, deliveries to webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Column, Identity, Index, text
from sqlmodel import Field, SQLModel

from app.core.events import SignalKind
from app.store.tables.columns import (
    amount_column,
    id_column,
    int_column,
    json_text_column,
    name_column,
    one_of,
    small_column,
    text_column,
    time_column,
)


class Signal(SQLModel, table=True):
    """A reason to look at a job once ``due_at`` has come: the inbox of the job graph and its timers.

    ``rank_at``, on timers of jobs that wait for a node: since when the job waits, put back for its priority. Earlier is
    more urgent; see app/matchmaker/fairness.py.

    A wave deletes the signals it consumed in its own commit. ``parked_at`` is set on a poisoned one, with ``error``.
    """

    __tablename__: ClassVar[Any] = "signals"
    __table_args__: ClassVar[Any] = (
        one_of("kind", SignalKind, "signals_kind"),
        Index("signals_due", "due_at", "id", postgresql_where=text("parked_at IS NULL")),
        Index("signals_job", "job_id"),
        Index("signals_parked", "parked_at", postgresql_where=text("parked_at IS NOT NULL")),
        # The backlog, most urgent first: the jobs that wait for a node.
        Index("signals_backlog", "rank_at", postgresql_where=text("rank_at IS NOT NULL AND parked_at IS NULL")),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    job_id: str = Field(sa_column=id_column())
    kind: str = Field(sa_column=name_column(20))
    due_at: datetime = Field(sa_column=time_column(now=True))
    rank_at: datetime | None = Field(sa_column=time_column(nullable=True))
    tries: int = Field(sa_column=small_column(default=0))
    error: str | None = Field(sa_column=text_column())
    parked_at: datetime | None = Field(sa_column=time_column(nullable=True))


class Event(SQLModel, table=True):
    """What happened, told once: written with the change, read by SSE, webhooks and agents. ``seq`` orders a job's.

    ``written_in``: the transaction that wrote it, by which the sequencer knows that none before can come any more.
    Partitioned by time (app/store/partitions.py).
    """

    __tablename__: ClassVar[Any] = "events"
    __table_args__: ClassVar[Any] = (
        Index("events_job", "job_id", "seq", postgresql_where=text("job_id IS NOT NULL")),
        Index("events_seq", "seq"),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    id: str = Field(sa_column=id_column(primary_key=True))
    at: datetime = Field(sa_column=time_column(now=True, primary_key=True))
    written_in: int = Field(
        sa_column=Column(BigInteger, nullable=False, server_default=text("pg_current_xact_id()::text::bigint"))
    )
    seq: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    kind: str = Field(sa_column=name_column(40))
    account: str | None = Field(sa_column=name_column(80, nullable=True))
    job_id: str | None = Field(sa_column=id_column(nullable=True))
    node_id: str | None = Field(sa_column=id_column(nullable=True))
    data: dict[str, Any] = Field(sa_column=json_text_column())


class FeedEntry(SQLModel, table=True):
    """The place of an event in the feed: ``position`` has no gaps, and no event ever comes before one that was read.

    ``at``: the event's own, so that both are in partitions of the same time.
    """

    __tablename__: ClassVar[Any] = "feed"
    __table_args__: ClassVar[Any] = (
        Index("feed_account", "account", "position"),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    position: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    at: datetime = Field(sa_column=time_column(primary_key=True))
    event_id: str = Field(sa_column=id_column())
    account: str | None = Field(sa_column=name_column(80, nullable=True))


class Consumer(SQLModel, table=True):
    """How far somebody has come in the feed: everything up to ``position`` is dealt with.

    The row ``sequencer`` is the feed's own end: ``horizon`` is the transaction before which all events have their
    positions.
    """

    __tablename__: ClassVar[Any] = "consumers"

    name: str = Field(sa_column=Column("name", name_column(80).type, primary_key=True))
    position: int = Field(sa_column=amount_column(default=0))
    horizon: int = Field(sa_column=amount_column(default=0))
    updated_at: datetime = Field(sa_column=time_column(now=True))


class Delivery(SQLModel, table=True):
    """One event for one endpoint. ``due_at`` doubles as the lease while a dispatcher works on it.

    ``at``: the event's own, so that an event has one delivery an endpoint over all partitions.
    """

    __tablename__: ClassVar[Any] = "deliveries"
    __table_args__: ClassVar[Any] = (
        one_of("state", ("pending", "delivered", "dead"), "deliveries_state"),
        Index("deliveries_due", "endpoint", "due_at", postgresql_where=text("state = 'pending'")),
        Index("deliveries_dead", "at", "event_id", "endpoint", postgresql_where=text("state = 'dead'")),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    event_id: str = Field(sa_column=id_column(primary_key=True))
    endpoint: str = Field(sa_column=Column("endpoint", name_column(80).type, primary_key=True))
    at: datetime = Field(sa_column=time_column(primary_key=True))
    state: str = Field(sa_column=name_column(12, default="pending"))
    tries: int = Field(sa_column=small_column(default=0))
    due_at: datetime = Field(sa_column=time_column(now=True))
    status_code: int | None = Field(sa_column=int_column(nullable=True))
    error: str | None = Field(sa_column=text_column())
    created_at: datetime = Field(sa_column=time_column(now=True))
    delivered_at: datetime | None = Field(sa_column=time_column(nullable=True))
