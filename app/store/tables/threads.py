"""Tables of the LangGraph-style API: threads and the runs of the agent graph on them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from app.store.tables.columns import (
    bool_column,
    id_column,
    json_column,
    json_text_column,
    name_column,
    one_of,
    text_column,
    time_column,
)


class AgentThread(SQLModel, table=True):
    """A conversation with the agent graph. ``about``: its metadata; ``state``: the values that its last run left.

    Ids are UUIDs.
    """

    __tablename__: ClassVar[Any] = "agent_threads"
    __table_args__: ClassVar[Any] = (Index("agent_threads_account", "account", "created_at"),)

    id: str = Field(sa_column=id_column(primary_key=True))
    account: str = Field(sa_column=name_column(80))
    about: dict[str, Any] = Field(sa_column=json_column())
    state: dict[str, Any] = Field(sa_column=json_text_column())
    created_at: datetime = Field(sa_column=time_column(now=True))
    updated_at: datetime = Field(sa_column=time_column(now=True))


class AgentRun(SQLModel, table=True):
    """A run of the agent graph, on a thread or alone (``thread_id`` None). ``lease_until``: until when the server that
    has it is taken to be alive; a run that is not over after that is in error: its server died.
    """

    __tablename__: ClassVar[Any] = "agent_runs"
    __table_args__: ClassVar[Any] = (
        one_of("status", ("pending", "running", "success", "error", "interrupted"), "agent_runs_status"),
        Index("agent_runs_thread", "thread_id", "created_at"),
    )

    id: str = Field(sa_column=id_column(primary_key=True))
    thread_id: str | None = Field(sa_column=id_column(nullable=True))
    account: str = Field(sa_column=name_column(80))
    key_id: str = Field(sa_column=id_column())
    status: str = Field(sa_column=name_column(12))
    request: dict[str, Any] = Field(sa_column=json_text_column())
    output: Any = Field(sa_column=json_text_column(nullable=True, default=None))
    error: str | None = Field(sa_column=text_column())
    cancel_requested: bool = Field(sa_column=bool_column(default=False))
    lease_until: datetime = Field(sa_column=time_column(now=True))
    created_at: datetime = Field(sa_column=time_column(now=True))
    updated_at: datetime = Field(sa_column=time_column(now=True))
