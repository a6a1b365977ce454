"""What the tools about plans take and give; see tools/schemas.py."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.core.plans import FailurePolicy, PlanState, UnitState
from tools.schemas import IdempotencyKey, Input, JobSpec

MAX_TASKS = 200
MAX_UNITS = 10_000
"""Jobs that a plan may come to, every run of a redundant one counted."""

PlanId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=40,
        pattern=r"^[A-Za-z0-9_\-]+$",
        description="The plan_id that submit_plan returned",
        examples=["plan_01jd3k5m7p9r1t3v5x7z9b1d3f"],
    ),
]
TaskId = Annotated[
    str,
    Meta(max_length=40, pattern=r"^[a-z][a-z0-9_]*$", description="Name of the task: small letters, digits and _"),
]
Price = Annotated[str, Meta(max_length=40, description='HYPER per GPU-hour as a decimal string, such as "0.25"')]


class PlanTask(Input, kw_only=True):
    """One task of a plan: a job template, run once or once an item.

    Texts in the job's ``prompt``, ``model`` and ``input`` may hold references: ``{{item}}`` and ``{{index}}`` of a
    mapped task, ``{{tasks.ID.result}}`` of a task that runs once and ``{{tasks.ID.results}}`` (a list) of any, each
    with a path behind it if need be: ``{{tasks.split.result.parts.0}}``. A text that is nothing but a reference becomes
    its value.
    """

    task_id: TaskId
    job: Annotated[JobSpec, Meta(description="The job, as for submit_job; texts may hold references")]
    after: Annotated[
        list[TaskId],
        Meta(max_length=MAX_TASKS, description="Tasks that must be over first; those referred to are anyway"),
    ] = []
    for_each: Annotated[
        list[Any], Meta(max_length=MAX_UNITS, description="One job for each of these values, {{item}}; empty = one job")
    ] = []
    for_each_of: Annotated[
        str,
        Meta(
            max_length=40,
            pattern=r"^([a-z][a-z0-9_]*)?$",
            description="One job for each job of this task, as soon as that is done; {{item}} is its result",
        ),
    ] = ""
    on_failure: Annotated[
        Literal["plan", "retry", "replace", "skip", "abort"],
        Meta(description="As the plan's, for this task; plan = as the plan"),
    ] = "plan"
    redundancy: Annotated[int, Meta(ge=0, le=7, description="As the plan's, for this task; 0 = as the plan")] = 0


class SubmitPlan(Input, kw_only=True):
    """Jobs that belong together, in an order, within a budget."""

    tasks: Annotated[list[PlanTask], Meta(min_length=1, max_length=MAX_TASKS, description="The tasks, in any order")]
    budget_hyper: Annotated[
        str, Meta(max_length=40, description='HYPER that the whole plan may cost, such as "12.5"; never exceeded')
    ]
    name: Annotated[str, Meta(max_length=80, description="What people know it by")] = ""
    deadline_s: Annotated[int, Meta(ge=0, le=2_592_000, description="Seconds from now to end in; 0 = none")] = 0
    parallelism: Annotated[int, Meta(ge=1, le=MAX_UNITS, description="Jobs under way at once, at most")] = 50
    start_price_per_gpu_hour_hyper: Annotated[
        Price, Meta(description="What jobs offer at first; empty = the highest")
    ] = ""
    raise_step_hyper: Annotated[
        Price, Meta(description="By how much an offer is raised when no node takes it; empty = not at all")
    ] = ""
    max_price_per_gpu_hour_hyper: Annotated[Price, Meta(description="What jobs offer at most; needed")]
    raise_after_s: Annotated[int, Meta(ge=1, le=86_400, description="Seconds to wait for a node before each raise")] = (
        30
    )
    on_failure: Annotated[
        FailurePolicy,
        Meta(
            description="When a job fails for good: retry it, replace its node, skip it, or abort the plan. Used-up "
            "tries abort the plan"
        ),
    ] = FailurePolicy.RETRY
    max_tries: Annotated[int, Meta(ge=1, le=20, description="Times that a job is tried by retry and replace")] = 3
    redundancy: Annotated[
        int, Meta(ge=1, le=7, description="Runs of each job, of which most must come to the same result; odd")
    ] = 1
    dry_run: Annotated[bool, Meta(description="Only check it, and tell what it would come to")] = False
    idempotency_key: IdempotencyKey = ""


class GetPlan(Input, kw_only=True):
    plan_id: PlanId
    units: Annotated[bool, Meta(description="Also list every unit of work, up to 10,000")] = False
    wait_s: Annotated[float, Meta(ge=0, le=45, description="Seconds to wait for its end before answering")] = 0.0


class CancelPlan(Input, kw_only=True):
    plan_id: PlanId


class ListPlans(Input, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=100, description="Plans a page")] = 20
    cursor: Annotated[
        str, Meta(max_length=40, pattern=r"^[A-Za-z0-9_\-]*$", description="next_cursor of the page before")
    ] = ""


class TaskAnswer(msgspec.Struct, kw_only=True):
    """A task's units by state. ``job_id``: of a task that runs once and is done, the job whose result counts;
    ``result``: that result, null where it is larger than 64 KiB: get_job has it."""

    task_id: str
    units: int
    waiting: int
    running: int
    done: int
    skipped: int
    failed: int
    cancelled: int
    after: list[str]
    cost_hyper: str
    job_id: str = ""
    result: Any = None


class UnitAnswer(msgspec.Struct, kw_only=True):
    """One unit. ``job_ids``: its jobs under way; ``job_id``: the one whose result counts."""

    task_id: str
    item: int
    state: UnitState
    tries: int
    bid_per_gpu_hour_hyper: str
    cost_hyper: str
    job_ids: list[str]
    job_id: str
    error: str


class PlanSummary(msgspec.Struct, kw_only=True):
    """A plan as lists show it. ``cost_hyper``: what its jobs have cost so far; ``reserved_hyper``: what those under way
    may cost at most; ``remaining_hyper``: of the budget, after both. ``progress``: share of its units that are over.

    ``held``: why units wait that could go, such as for budget or a limit of the API key.
    """

    plan_id: str
    name: str
    state: PlanState
    reason: str
    final: bool
    version: int
    progress: float
    units_total: int
    units_over: int
    budget_hyper: str
    cost_hyper: str
    reserved_hyper: str
    remaining_hyper: str
    created_at: str
    deadline_at: str
    finished_at: str
    error: str
    held: str = ""


class PlanAnswer(PlanSummary, kw_only=True):
    """A plan. ``forecast_hyper``: what it will have cost, by the average of its jobs so far; ``worst_case_hyper``: if
    every job takes all its time at the highest price. ``mermaid``: the tasks as a graph, with their states.

    ``budget_remaining_hyper``: what jobs of the API key that asks may cost today, empty where it has no cap; told by
    submit_plan.
    """

    forecast_hyper: str
    worst_case_hyper: str
    tasks: list[TaskAnswer]
    units: list[UnitAnswer] = []
    mermaid: str = ""
    created: bool = False
    dry_run: bool = False
    budget_remaining_hyper: str = ""
    next_action: str = ""


class PlanPage(msgspec.Struct, kw_only=True):
    """Newest first. ``next_cursor``: of the next page, empty on the last."""

    plans: list[PlanSummary]
    next_cursor: str
