"""Jobs and plans in the words of A2A 1.0 (a2a-protocol.org): what its faces and its push notifications agree on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.core.plans import PlanState
from app.core.states import JobState

SUBMITTED: Final = "TASK_STATE_SUBMITTED"
WORKING: Final = "TASK_STATE_WORKING"
COMPLETED: Final = "TASK_STATE_COMPLETED"
FAILED: Final = "TASK_STATE_FAILED"
CANCELED: Final = "TASK_STATE_CANCELED"

TASK_STATE: Final[Mapping[str, str]] = {
    JobState.BLOCKED: SUBMITTED,
    JobState.SCHEDULED: SUBMITTED,
    JobState.PENDING: SUBMITTED,
    JobState.OFFERED: SUBMITTED,
    JobState.ASSIGNED: WORKING,
    JobState.RUNNING: WORKING,
    JobState.CANCELLING: WORKING,
    JobState.COMPLETED: COMPLETED,
    JobState.FAILED: FAILED,
    JobState.CANCELLED: CANCELED,
    JobState.EXPIRED: FAILED,
    PlanState.RUNNING: WORKING,
    PlanState.CANCELLING: WORKING,
    PlanState.COMPLETED: COMPLETED,
    PlanState.FAILED: FAILED,
    PlanState.CANCELLED: CANCELED,
}
"""A task's state by that of its job or plan; words that both have mean the same."""


def context_of(task_id: str) -> str:
    """The context of a task whose client named none: one of its own, that can always be told from its id."""
    return f"ctx_{task_id.partition('_')[2]}"


def task_suffix(context_id: str) -> str:
    """The part of an id that ``context_of`` made the context from; empty for a context that it did not make."""
    prefix, _, suffix = context_id.partition("_")
    return suffix if prefix == "ctx" else ""
