"""Tables of the plan aggregate: a plan, its units of work, reasons to look at it, its history."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Column, Identity, Index, String, text
from sqlmodel import Field, SQLModel

from app.core.plans import PLAN_FINAL, UNIT_FINAL, PlanState, UnitState
from app.store.tables.columns import (
    amount_column,
    bool_column,
    id_column,
    int_column,
    json_column,
    name_column,
    names_column,
    one_of,
    small_column,
    text_column,
    time_column,
)


def _listed(states: frozenset[Any]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))


class Plan(SQLModel, table=True):
    """A plan. ``request``: as its agent gave it. ``spent``: what its jobs that are over cost; ``reserved``: what the
    others may cost at most; together never above ``budget``. Base units of HYPER.

    ``held``: why units wait that could go. ``version`` rises with every change.
    """

    __tablename__: ClassVar[Any] = "plans"
    __table_args__: ClassVar[Any] = (
        one_of("state", PlanState, "plans_state"),
        CheckConstraint(f"(state IN ({_listed(PLAN_FINAL)})) = (finished_at IS NOT NULL)", name="plans_finished_at"),
        CheckConstraint(
            "budget >= 0 AND spent >= 0 AND reserved >= 0 AND spent + reserved <= budget", name="plans_budget"
        ),
        Index("plans_account", "account", "id"),
    )

    id: str = Field(sa_column=id_column(primary_key=True))
    account: str = Field(sa_column=name_column(80))
    key_id: str = Field(sa_column=id_column())
    name: str = Field(sa_column=name_column(80, default=""))
    state: str = Field(sa_column=name_column(12))
    reason: str = Field(sa_column=name_column(40))
    version: int = Field(sa_column=int_column(default=1))
    request: dict[str, Any] = Field(sa_column=json_column())
    budget: int = Field(sa_column=amount_column())
    spent: int = Field(sa_column=amount_column(default=0))
    reserved: int = Field(sa_column=amount_column(default=0))
    cancel_requested: bool = Field(sa_column=bool_column(default=False))
    error: str | None = Field(sa_column=text_column())
    held: str | None = Field(sa_column=text_column())
    created_at: datetime = Field(sa_column=time_column(now=True))
    deadline_at: datetime | None = Field(sa_column=time_column(nullable=True))
    finished_at: datetime | None = Field(sa_column=time_column(nullable=True))


class PlanUnit(SQLModel, table=True):
    """One piece of a plan's work: a task, or one item of a mapped one; ``number`` orders them, dependencies first.

    ``job_ids``: the jobs of its present round, one a run of a redundant unit. ``bid``: base units of HYPER a GPU-hour
    that they offer. ``tries``: rounds that failed. ``winner``: the job whose result is the unit's.
    ``excluded``: nodes it is not to run on again. ``not_before``: until when it waits after a failed round.
    """

    __tablename__: ClassVar[Any] = "plan_units"
    __table_args__: ClassVar[Any] = (
        one_of("state", UnitState, "plan_units_state"),
        CheckConstraint(f"state NOT IN ({_listed(UNIT_FINAL)}) OR job_ids = '{{}}'", name="plan_units_over"),
    )

    plan_id: str = Field(sa_column=id_column(primary_key=True))
    number: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    task_id: str = Field(sa_column=name_column(40))
    item: int = Field(sa_column=int_column(default=0))
    state: str = Field(sa_column=name_column(12))
    job_ids: list[str] = Field(sa_column=Column(ARRAY(String(40)), nullable=False, server_default=text("'{}'")))
    bid: int | None = Field(sa_column=amount_column(nullable=True))
    tries: int = Field(sa_column=int_column(default=0))
    winner: str | None = Field(sa_column=id_column(nullable=True))
    excluded: list[str] = Field(sa_column=names_column())
    not_before: datetime | None = Field(sa_column=time_column(nullable=True))
    error: str | None = Field(sa_column=text_column())


class PlanSignal(SQLModel, table=True):
    """A reason to look at a plan once ``due_at`` has come: the inbox of the plan graph and its timers."""

    __tablename__: ClassVar[Any] = "plan_signals"
    __table_args__: ClassVar[Any] = (
        Index("plan_signals_due", "due_at", "id", postgresql_where=text("parked_at IS NULL")),
        Index("plan_signals_plan", "plan_id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    plan_id: str = Field(sa_column=id_column())
    kind: str = Field(sa_column=name_column(20))
    due_at: datetime = Field(sa_column=time_column(now=True))
    tries: int = Field(sa_column=small_column(default=0))
    error: str | None = Field(sa_column=text_column())
    parked_at: datetime | None = Field(sa_column=time_column(nullable=True))


class PlanHistory(SQLModel, table=True):
    """One row a change of a plan (``number`` None) or of one of its units, in the order of ``seq``.

    ``bid``: what the unit's jobs offer from then on, ``job_id``: the first of them.
    """

    __tablename__: ClassVar[Any] = "plan_history"
    __table_args__: ClassVar[Any] = (Index("plan_history_plan", "plan_id", "seq"),)

    seq: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    plan_id: str = Field(sa_column=id_column())
    number: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    at: datetime = Field(sa_column=time_column(now=True))
    from_state: str | None = Field(sa_column=name_column(12, nullable=True))
    to_state: str = Field(sa_column=name_column(12))
    reason: str = Field(sa_column=name_column(40))
    bid: int | None = Field(sa_column=amount_column(nullable=True))
    job_id: str | None = Field(sa_column=id_column(nullable=True))
