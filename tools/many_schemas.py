"""What the tools about many jobs, and about jobs run again, take and give; see tools/schemas.py."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.core.requirements import JobType
from app.core.states import JobState
from tools.schemas import IdempotencyKey, Input, JobId, SubmitJob, Time

MAX_BATCH = 1_000
"""Jobs of one call at most."""


class SubmitJobs(Input, kw_only=True):
    """Jobs to run, submitted together: each gets an answer of its own, in order."""

    jobs: Annotated[
        list[SubmitJob], Meta(min_length=1, max_length=MAX_BATCH, description="The jobs, each as for submit_job")
    ]


class JobFilter(Input, kw_only=True):
    """Which jobs: those that meet every condition given. Only jobs that are not over are ever taken."""

    state: Annotated[list[JobState], Meta(max_length=16, description="In any of these states; empty = any")] = []
    type: Annotated[list[JobType], Meta(max_length=16, description="Of any of these types; empty = any")] = []
    submitted_before: Annotated[Time, Meta(description="Submitted before this time; empty = whenever")] = ""
    schedule_id: Annotated[
        str, Meta(max_length=40, pattern=r"^[A-Za-z0-9_\-]*$", description="Made by this schedule; empty = any")
    ] = ""


class CancelJobs(Input, kw_only=True):
    """Name the jobs, or say which with at least one condition of ``filter``: not both."""

    job_ids: Annotated[list[JobId], Meta(max_length=MAX_BATCH, description="These jobs; empty = by filter")] = []
    filter: Annotated[JobFilter, Meta(description="Jobs that meet all of these conditions")] = msgspec.field(
        default_factory=JobFilter
    )


class RerunChanges(Input, kw_only=True):
    """What is to be different the next time."""

    priority: Annotated[int, Meta(ge=-1, le=9, description="Higher goes first; -1 = as it was")] = -1
    timeout_s: Annotated[int, Meta(ge=0, le=604_800, description="Longest run; 0 = as it was")] = 0
    queue_ttl_s: Annotated[int, Meta(ge=0, le=604_800, description="Longest wait for a node; 0 = as it was")] = 0
    deadline_s: Annotated[
        int, Meta(ge=-1, le=604_800, description="Seconds from now until a result is useless; 0 = none, -1 = as it was")
    ] = -1
    max_retries: Annotated[int, Meta(ge=-1, le=20, description="Failed runs to make up for; -1 = as it was")] = -1
    idempotency_key: IdempotencyKey = ""


class RerunJob(RerunChanges, kw_only=True):
    """A job that is over, to run again."""

    job_id: JobId


class ItemProblem(msgspec.Struct, kw_only=True):
    """Why one of several was refused: as the error of a call of its own would tell. ``field`` names what is wrong;
    ``figures``: amounts that it is about."""

    code: str
    detail: str
    field: str
    retryable: bool
    next_action: str
    figures: dict[str, str] = {}


class SubmittedItem(msgspec.Struct, kw_only=True):
    """What became of the job at ``index`` of the request: a job, or a problem.

    ``created`` is false when its idempotency key had made the job before; ``state`` is the job's present one.
    """

    index: int
    job_id: str = ""
    state: str = ""
    created: bool = False
    requirements_hash: str = ""
    problem: ItemProblem | UnsetType = UNSET


class SubmitJobsAnswer(msgspec.Struct, kw_only=True):
    """``results``: one a job, in the order of the request. ``repeated``: made before under the same keys.

    ``budget_remaining_hyper``: what further jobs of today may cost, empty where the key has no cap.
    """

    created: int
    repeated: int
    refused: int
    results: list[SubmittedItem]
    budget_remaining_hyper: str = ""
    next_action: str = "Call wait_job with a job_id for its result, or list_jobs for many."


class CancelJobsAnswer(msgspec.Struct, kw_only=True):
    """``requested``: how many jobs were asked to end now, which are ``job_ids``; they end a moment later.

    ``unchanged``: of the jobs named, those that are over or were asked before; ``unknown``: those that are not there.
    ``more``: whether a filter still finds others: call again.
    """

    requested: int
    job_ids: list[str]
    unchanged: list[str]
    unknown: list[str]
    more: bool
