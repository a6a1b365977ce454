"""Tables of who may do what: API keys, and answers kept for idempotency keys."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Column, Date, Index
from sqlmodel import Field, SQLModel

from app.store.tables.columns import (
    amount_column,
    id_column,
    int_column,
    name_column,
    names_column,
    small_column,
    time_column,
)


class ApiKey(SQLModel, table=True):
    """A key's sha256 (the key itself is 256 random bits, shown once). ``prefix`` is its public part.

    ``weight``: its share of scarce capacity against other keys. ``max_active``: slots its jobs may hold at once,
    ``max_queued``: jobs that may wait; None = as the settings say. ``tools`` and ``job_types``: what it may call and
    submit, empty = all. ``cap_day`` and ``cap_job``: what its jobs may cost in a UTC day and each, in base units of
    HYPER; None = any amount.
    """

    __tablename__: ClassVar[Any] = "api_keys"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(
            "weight BETWEEN 1 AND 1000 AND (max_active IS NULL OR max_active >= 0) "
            "AND (max_queued IS NULL OR max_queued >= 0)",
            name="api_keys_share",
        ),
        CheckConstraint("cap_day >= 0 AND cap_job >= 0", name="api_keys_caps"),
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
    tools: list[str] = Field(sa_column=names_column())
    job_types: list[str] = Field(sa_column=names_column())
    cap_day: int | None = Field(sa_column=amount_column(nullable=True))
    cap_job: int | None = Field(sa_column=amount_column(nullable=True))
    created_at: datetime = Field(sa_column=time_column(now=True))
    revoked_at: datetime | None = Field(sa_column=time_column(nullable=True))


class KeySpending(SQLModel, table=True):
    """What the jobs of a key with a cap cost in a UTC day: ``spent`` by those that are over, ``reserved`` by the others
    at most. A job counts for the day on which it was submitted. Base units of HYPER.
    """

    __tablename__: ClassVar[Any] = "key_spending"
    __table_args__: ClassVar[Any] = (CheckConstraint("reserved >= 0 AND spent >= 0", name="key_spending_amounts"),)

    key_id: str = Field(sa_column=id_column(primary_key=True))
    day: date = Field(sa_column=Column(Date, primary_key=True))
    reserved: int = Field(sa_column=amount_column(default=0))
    spent: int = Field(sa_column=amount_column(default=0))


class IdempotencyKey(SQLModel, table=True):
    """Which job an Idempotency-Key made, and from which request (sha256 of its canonical form)."""

    __tablename__: ClassVar[Any] = "idempotency_keys"
    __table_args__: ClassVar[Any] = (Index("idempotency_keys_created", "created_at"),)

    account: str = Field(sa_column=Column("account", name_column(80).type, primary_key=True))
    key: str = Field(sa_column=Column("key", name_column(200).type, primary_key=True))
    digest: str = Field(sa_column=name_column(64))
    job_id: str = Field(sa_column=id_column())
    created_at: datetime = Field(sa_column=time_column(now=True))
