"""Tables that carry messages: signals into the job graph, events out of it, the outbox and its deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Column, Identity, Index, text
from sqlmodel import Field, SQLModel

from app.core.events import SignalKind
from app.store.tables.columns import (
    id_column,
    int_column,
    json_column,
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
    """What happened, told once: written with the change, read by SSE, webhooks and agents. ``seq`` orders a job's."""

    __tablename__: ClassVar[Any] = "events"
    __table_args__: ClassVar[Any] = (Index("events_job", "job_id", "seq", postgresql_where=text("job_id IS NOT NULL")),)

    id: str = Field(sa_column=id_column(primary_key=True))
    seq: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    kind: str = Field(sa_column=name_column(40))
    account: str | None = Field(sa_column=name_column(80, nullable=True))
    job_id: str | None = Field(sa_column=id_column(nullable=True))
    node_id: str | None = Field(sa_column=id_column(nullable=True))
    data: dict[str, Any] = Field(sa_column=json_column())
    at: datetime = Field(sa_column=time_column(now=True))


class Outbox(SQLModel, table=True):
    """Events that wait to be fanned out into deliveries; a row lives from the change's commit to the fan-out's."""

    __tablename__: ClassVar[Any] = "outbox"

    event_id: str = Field(sa_column=id_column(primary_key=True))


class Delivery(SQLModel, table=True):
    """One event for one endpoint. ``due_at`` doubles as the lease while a dispatcher works on it."""

    __tablename__: ClassVar[Any] = "deliveries"
    __table_args__: ClassVar[Any] = (
        one_of("state", ("pending", "delivered", "dead"), "deliveries_state"),
        Index("deliveries_due", "due_at", postgresql_where=text("state = 'pending'")),
    )

    event_id: str = Field(sa_column=id_column(primary_key=True))
    endpoint: str = Field(sa_column=Column("endpoint", name_column(80).type, primary_key=True))
    state: str = Field(sa_column=name_column(12, default="pending"))
    tries: int = Field(sa_column=small_column(default=0))
    due_at: datetime = Field(sa_column=time_column(now=True))
    status_code: int | None = Field(sa_column=int_column(nullable=True))
    error: str | None = Field(sa_column=text_column())
    created_at: datetime = Field(sa_column=time_column(now=True))
    delivered_at: datetime | None = Field(sa_column=time_column(nullable=True))
