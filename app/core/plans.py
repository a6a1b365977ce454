"""Plans: many jobs that belong together, in an order, within a budget. States, reasons, plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class PlanState(StrEnum):
    """Where a plan stands."""

    RUNNING = "running"
    """Releases its units as their turn comes: graphs/plan.py moves it on."""
    CANCELLING = "cancelling"
    """Was cancelled, or cannot succeed any more: it ends once its jobs have."""
    COMPLETED = "completed"
    """Every unit is done or was skipped."""
    FAILED = "failed"
    CANCELLED = "cancelled"


PLAN_FINAL = frozenset({PlanState.COMPLETED, PlanState.FAILED, PlanState.CANCELLED})

PLAN_MOVES: Mapping[PlanState, frozenset[PlanState]] = {
    PlanState.RUNNING: frozenset({PlanState.CANCELLING, PlanState.COMPLETED, PlanState.FAILED, PlanState.CANCELLED}),
    PlanState.CANCELLING: frozenset({PlanState.FAILED, PlanState.CANCELLED}),
    PlanState.COMPLETED: frozenset(),
    PlanState.FAILED: frozenset(),
    PlanState.CANCELLED: frozenset(),
}


class UnitState(StrEnum):
    """Where one piece of a plan's work stands."""

    WAITING = "waiting"
    """For units it depends on, for budget or parallelism, or for its next try."""
    RUNNING = "running"
    """Its jobs are submitted."""
    DONE = "done"
    SKIPPED = "skipped"
    """It failed, and the plan goes on without its result."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    """Ended with its plan."""


UNIT_FINAL = frozenset({UnitState.DONE, UnitState.SKIPPED, UnitState.FAILED, UnitState.CANCELLED})

UNIT_MOVES: Mapping[UnitState, frozenset[UnitState]] = {
    UnitState.WAITING: frozenset({UnitState.RUNNING, UnitState.SKIPPED, UnitState.FAILED, UnitState.CANCELLED}),
    UnitState.RUNNING: frozenset(
        {UnitState.WAITING, UnitState.DONE, UnitState.SKIPPED, UnitState.FAILED, UnitState.CANCELLED}
    ),
    UnitState.DONE: frozenset(),
    UnitState.SKIPPED: frozenset(),
    UnitState.FAILED: frozenset(),
    UnitState.CANCELLED: frozenset(),
}


class PlanReason(StrEnum):
    """Why a plan or a unit moved."""

    SUBMITTED = "submitted"
    RELEASED = "released"
    BID_RAISED = "bid_raised"
    """Nobody took it at its price, so it offers more."""
    RETRIED = "retried"
    REPLACED = "replaced"
    """It failed, and is tried again away from the nodes that failed it."""
    RESULT = "result"
    SKIPPED = "skipped"
    UNIT_FAILED = "unit_failed"
    UNPLACED = "unplaced"
    """No node took it at the highest price it may offer."""
    NO_MAJORITY = "no_majority"
    """Its runs came to different results."""
    POISONED = "poisoned"
    """The plan graph failed on it again and again."""
    BUDGET_EXHAUSTED = "budget_exhausted"
    DEADLINE_PASSED = "deadline_passed"
    CANCEL_REQUESTED = "cancel_requested"
    ALL_DONE = "all_done"


class PlanSignalKind(StrEnum):
    """Why a plan deserves a look; the graph decides from the rows alone."""

    SUBMITTED = "submitted"
    JOB_ENDED = "job_ended"
    JOB_PARKED = "job_parked"
    """The job graph gave one of its jobs up."""
    CANCEL_REQUESTED = "cancel_requested"
    DEADLINE = "deadline"
    RETRY_DUE = "retry_due"


class FailurePolicy(StrEnum):
    """What becomes of a unit whose round failed."""

    RETRY = "retry"
    """Once more, anywhere; when its tries are used up, the plan ends."""
    REPLACE = "replace"
    """Once more, on other nodes than those that failed it; when its tries are used up, the plan ends."""
    SKIP = "skip"
    """The plan goes on without it: its result is null."""
    ABORT = "abort"
    """The plan ends."""


@dataclass(slots=True)
class Plan:
    """A plan's row. Amounts in base units of HYPER. ``request``: None where it is not needed, for it may be large.

    ``held``: why units wait that could go, as of its last wave.
    """

    id: str
    account: str
    key_id: str
    name: str
    state: PlanState
    reason: str
    version: int
    request: dict[str, Any] | None
    budget: int
    spent: int
    reserved: int
    cancel_requested: bool
    error: str | None
    created_at: datetime | None
    deadline_at: datetime | None
    finished_at: datetime | None
    held: str | None = None


@dataclass(slots=True)
class Unit:
    """A unit's row; see app/store/tables/plans.py."""

    number: int
    task_id: str
    item: int
    state: UnitState = UnitState.WAITING
    job_ids: list[str] = field(default_factory=list)
    bid: int | None = None
    tries: int = 0
    winner: str | None = None
    excluded: list[str] = field(default_factory=list)
    not_before: datetime | None = None
    error: str | None = None
