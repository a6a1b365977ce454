"""Tables of who may do what: API keys, and answers kept for idempotency keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Column, Index
from sqlmodel import Field, SQLModel

from app.store.tables.columns import id_column, int_column, name_column, names_column, small_column, time_column


class ApiKey(SQLModel, table=True):
    """A key's sha256 (the key itself is 256 random bits, shown once). ``prefix`` is its public part.

    ``weight``: its share of scarce capacity against other keys. ``max_active``: slots its jobs may hold at once,
    ``max_queued``: jobs that may wait; None = as the settings say.
    """

    __tablename__: ClassVar[Any] = "api_keys"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(
            "weight BETWEEN 1 AND 1000 AND (max_active IS NULL OR max_active >= 0) "
            "AND (max_queued IS NULL OR max_queued >= 0)",
            name="api_keys_share",
        ),
        Index("api_keys_account", "account"),
    )

    id: str = Field(sa_column=id_column(primary_key=True))
    account: str = Field(sa_column=name_column(80))
    label: str = Field(sa_column=name_column(80, default=""))
    prefix: str = Field(sa_column=name_column(16))
    digest: str = Field(sa_column=Column("digest", name_column(64).type, nullable=False, unique=True))
    scopes: list[str] = Field(sa_column=names_column())
    weight: int = Field(sa_column=small_column(default=1))
    max_active: int | None = Field(sa_column=int_column(nullable=True))
    max_queued: int | None = Field(sa_column=int_column(nullable=True))
    created_at: datetime = Field(sa_column=time_column(now=True))
    revoked_at: datetime | None = Field(sa_column=time_column(nullable=True))


class IdempotencyKey(SQLModel, table=True):
    """Which job an Idempotency-Key made, and from which request (sha256 of its canonical form)."""

    __tablename__: ClassVar[Any] = "idempotency_keys"
    __table_args__: ClassVar[Any] = (Index("idempotency_keys_created", "created_at"),)

    account: str = Field(sa_column=Column("account", name_column(80).type, primary_key=True))
    key: str = Field(sa_column=Column("key", name_column(200).type, primary_key=True))
    digest: str = Field(sa_column=name_column(64))
    job_id: str = Field(sa_column=id_column())
    created_at: datetime = Field(sa_column=time_column(now=True))
