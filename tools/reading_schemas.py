"""What the tools that look things up take and give: jobs, their histories, a key's budget; see tools/schemas.py."""

from typing import Annotated

import msgspec
from msgspec import Meta

from app.core.requirements import JobType
from app.core.states import JobState
from tools.schemas import Input, JobId, JobSummary


class ListJobs(Input, kw_only=True):
    """A page of jobs, newest first."""

    state: Annotated[list[JobState], Meta(max_length=16, description="In any of these states; empty = any")] = []
    type: Annotated[list[JobType], Meta(max_length=16, description="Of any of these types; empty = any")] = []
    limit: Annotated[int, Meta(ge=1, le=200, description="Jobs a page at most")] = 20
    cursor: Annotated[
        str,
        Meta(
            max_length=40,
            pattern=r"^(job_[0-9a-z]{26})?$",
            description="next_cursor of the page before; empty = from the newest",
        ),
    ] = ""


class WaitJob(Input, kw_only=True):
    """A job whose end to wait for."""

    job_id: JobId
    wait_s: Annotated[float, Meta(ge=0, le=45, description="Longest wait in seconds")] = 30.0


class ReadHistory(Input, kw_only=True):
    """A job whose life to tell."""

    job_id: JobId


class GetBudget(Input, kw_only=True):
    """Asks for nothing but the caller's own key."""


class JobPage(msgspec.Struct):
    """``next_cursor``: pass it as ``cursor`` for older jobs; empty at the end."""

    jobs: list[JobSummary]
    next_cursor: str


class HistoryStep(msgspec.Struct, kw_only=True):
    """One change of a job's state, or of its payment's. ``from_state`` is empty for its first; ``actor``: the key, node
    or account that made it, or ``engine``."""

    from_state: str
    to_state: str
    attempt: int
    reason: str
    actor: str
    node_id: str
    at: str


class HistoryAnswer(msgspec.Struct, kw_only=True):
    """``steps``: every change of the job's state, oldest first; ``payment_steps``: of its payment on chain, in which
    ``attempt`` is 0. ``match``: in words, why its node was chosen the last time, or why there was none; empty before
    the first look."""

    job_id: str
    steps: list[HistoryStep]
    payment_steps: list[HistoryStep]
    match: str


class BudgetAnswer(msgspec.Struct, kw_only=True):
    """What the calling key may do and spend. Amounts in HYPER; empty strings stand for any amount.

    ``remaining_hyper``: what further jobs of this day (UTC) may cost. ``reserved_hyper``: what jobs under way may cost
    yet, at most; it becomes ``spent_hyper``, at what they did cost, when they are over. ``cap_job_hyper``: what one job
    may cost. ``tools``: that it may call, none = every tool; ``job_types``: that it may submit.
    ``max_active_gpus``: GPUs that its jobs may hold at once, ``max_waiting_jobs``: jobs of it that may wait for a node;
    0 = any number.
    """

    day: str
    cap_day_hyper: str
    spent_hyper: str
    reserved_hyper: str
    remaining_hyper: str
    cap_job_hyper: str
    tools: list[str]
    job_types: list[str]
    max_active_gpus: int
    max_waiting_jobs: int
