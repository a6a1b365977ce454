"""Tables of what agents have asked to be told of."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from app.store.tables.columns import id_column, json_text_column, name_column, names_column, text_column, time_column


class AgentHook(SQLModel, table=True):
    """A URL that an agent is sent its account's events at, or those of one job or plan.

    ``form``: what is sent: the network's own payload, or an A2A task. ``subject``: id of the job or plan, empty = all
    of the account. ``kinds``: of events, empty = all that webhooks are told of. ``secret``: what messages are signed
    with (``whsec_…``); ``token``: sent along as it is. ``options``: of the form. ``ended_at``: when it stopped being
    sent to, and ``error`` why, if not by its agent.
    """

    __tablename__: ClassVar[Any] = "agent_hooks"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("url <> ''", name="agent_hooks_url"),
        Index("agent_hooks_account", "account", "id"),
        Index("agent_hooks_subject", "account", "subject"),
        Index("agent_hooks_live", "account", "subject", postgresql_where=text("ended_at IS NULL")),
    )

    id: str = Field(sa_column=id_column(primary_key=True))
    account: str = Field(sa_column=name_column(80))
    key_id: str = Field(sa_column=id_column())
    form: str = Field(sa_column=name_column(20, default="custom"))
    subject: str = Field(sa_column=name_column(40, default=""))
    kinds: list[str] = Field(sa_column=names_column())
    url: str = Field(sa_column=text_column(nullable=False))
    secret: str = Field(sa_column=text_column(nullable=False))
    token: str = Field(sa_column=text_column(nullable=False))
    options: dict[str, Any] = Field(sa_column=json_text_column())
    error: str | None = Field(sa_column=text_column())
    created_at: datetime = Field(sa_column=time_column(now=True))
    ended_at: datetime | None = Field(sa_column=time_column(nullable=True))
