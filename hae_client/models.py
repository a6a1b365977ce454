"""The types of the API, generated from its OpenAPI document by ``python -m hae_client.generate``.

Classes of what is sent are TypedDicts; classes of what is answered are msgspec structs.
"""

from __future__ import annotations

from typing import Any, Literal, Required, TypedDict

import msgspec

ExcludeNodes = Literal["failed", "last", "none"]

FailurePolicy = Literal["retry", "replace", "skip", "abort"]

JobState = Literal[
    "blocked",
    "scheduled",
    "pending",
    "offered",
    "assigned",
    "running",
    "cancelling",
    "completed",
    "failed",
    "cancelled",
    "expired",
]

JobType = Literal["llm_inference", "llm_fine_tuning", "rag_indexing", "vision_pipeline", "render", "generic_compute"]


class Availability(TypedDict, total=False):
    # Any of these models; empty = any
    gpu_models: list[str]
    # GPUs of one node; default 1
    gpus: int
    # GB of memory per GPU; default 0
    min_vram_gb: int
    # All are needed; empty = what the job type needs by itself
    capabilities: list[
        Literal[
            "inference", "training", "fine_tuning", "render", "vision", "cpu_compute", "rag_indexing", "generic_compute"
        ]
    ]
    # Continent of the node; empty = any
    region: Literal["", "AF", "AS", "EU", "NA", "OC", "SA"]
    # Least reputation of the node; a new node has 100; default 0
    min_reputation: int
    # Highest price in HYPER as a decimal string, such as "0.25"; empty = no limit
    max_price_per_gpu_hour_hyper: str
    # What kind of work it is
    type: JobType


class CreateSchedule(TypedDict, total=False):
    # The job, as for submit_job
    job: Required[JobSpec]
    # When: minute, hour, day of month, month, day of week, such as '*/15 8-18 * * mon-fri'
    cron: Required[str]
    # Time zone of the IANA database, such as Europe/Berlin; default UTC
    timezone: str
    # skip: no new job while the schedule's last one is not over; allow: one every time; default allow
    overlap: Literal["allow", "skip"]
    # What it is for, to tell schedules apart
    name: str
    # Whether it makes no jobs for now; default False
    paused: bool
    # The same key and request make one job, however often it is sent
    idempotency_key: str


class JobFilter(TypedDict, total=False):
    """Jobs that meet all of these conditions"""

    # In any of these states; empty = any
    state: list[JobState]
    # Of any of these types; empty = any
    type: list[JobType]
    # Submitted before this time; empty = whenever
    submitted_before: str
    # Made by this schedule; empty = any
    schedule_id: str


class JobSpec(TypedDict, total=False):
    """The job, as for submit_job"""

    # Any of these models; empty = any
    gpu_models: list[str]
    # GPUs of one node; default 1
    gpus: int
    # GB of memory per GPU; default 0
    min_vram_gb: int
    # All are needed; empty = what the job type needs by itself
    capabilities: list[
        Literal[
            "inference", "training", "fine_tuning", "render", "vision", "cpu_compute", "rag_indexing", "generic_compute"
        ]
    ]
    # Continent of the node; empty = any
    region: Literal["", "AF", "AS", "EU", "NA", "OC", "SA"]
    # Least reputation of the node; a new node has 100; default 0
    min_reputation: int
    # Highest price in HYPER as a decimal string, such as "0.25"; empty = no limit
    max_price_per_gpu_hour_hyper: str
    # What kind of work it is
    type: Required[JobType]
    # Model to run, such as qwen-7b
    model: str
    # What the model is asked
    prompt: str
    # Anything else the node's executor needs
    input: dict[str, Any]
    # How to choose the node: reputation_weighted, cheapest, fastest, spread, or one that this network has added;
    # empty = the network's default
    policy: str
    # Higher goes first; default 0
    priority: int
    # Longest run; 0 = the network's default
    timeout_s: int
    # Longest wait for a node; 0 = default
    queue_ttl_s: int
    # Failed runs to make up for; -1 = default
    max_retries: int
    # Seconds from now after which a result is of no use: the job then ends, wherever it stands; 0 = none
    deadline_s: int
    # Nodes it may be offered to, one after the other; 0 = any number
    max_attempts: int
    # Seconds to wait after a lost run; doubles with each further one; default 0
    retry_backoff_s: int
    # Longest of those waits; 0 = ten times the first
    retry_backoff_max_s: int
    # Nodes that do not get it again: failed = all that declined or lost it, last = only the last of them, none = none
    exclude_nodes: ExcludeNodes


class Match(TypedDict, total=False):
    # Any of these models; empty = any
    gpu_models: list[str]
    # GPUs of one node; default 1
    gpus: int
    # GB of memory per GPU; default 0
    min_vram_gb: int
    # All are needed; empty = what the job type needs by itself
    capabilities: list[
        Literal[
            "inference", "training", "fine_tuning", "render", "vision", "cpu_compute", "rag_indexing", "generic_compute"
        ]
    ]
    # Continent of the node; empty = any
    region: Literal["", "AF", "AS", "EU", "NA", "OC", "SA"]
    # Least reputation of the node; a new node has 100; default 0
    min_reputation: int
    # Highest price in HYPER as a decimal string, such as "0.25"; empty = no limit
    max_price_per_gpu_hour_hyper: str
    # What kind of work it is
    type: JobType
    # How to choose the node: reputation_weighted, cheapest, fastest, spread, or one that this network has added;
    # empty = the network's default
    policy: str
    # Also count the other nodes, and tell what change would help; false = candidates only; default True
    explain: bool


class NewHook(TypedDict, total=False):
    url: Required[str]
    kinds: list[str]
    # A job_id or plan_id; empty = all events
    subject: str
    secret: str


class PlanTask(TypedDict, total=False):
    # Name of the task: small letters, digits and _
    task_id: Required[str]
    # The job, as for submit_job; texts may hold references
    job: Required[JobSpec]
    # Tasks that must be over first; those referred to are anyway
    after: list[str]
    # One job for each of these values, {{item}}; empty = one job
    for_each: list[Any]
    # One job for each job of this task, as soon as that is done; {{item}} is its result
    for_each_of: str
    # As the plan's, for this task; plan = as the plan
    on_failure: Literal["plan", "retry", "replace", "skip", "abort"]
    # As the plan's, for this task; 0 = as the plan
    redundancy: int


class Quote(TypedDict, total=False):
    # Any of these models; empty = any
    gpu_models: list[str]
    # GPUs of one node; default 1
    gpus: int
    # GB of memory per GPU; default 0
    min_vram_gb: int
    # All are needed; empty = what the job type needs by itself
    capabilities: list[
        Literal[
            "inference", "training", "fine_tuning", "render", "vision", "cpu_compute", "rag_indexing", "generic_compute"
        ]
    ]
    # Continent of the node; empty = any
    region: Literal["", "AF", "AS", "EU", "NA", "OC", "SA"]
    # Least reputation of the node; a new node has 100; default 0
    min_reputation: int
    # Highest price in HYPER as a decimal string, such as "0.25"; empty = no limit
    max_price_per_gpu_hour_hyper: str
    # What kind of work it is
    type: JobType
    # How to choose the node: reputation_weighted, cheapest, fastest, spread, or one that this network has added;
    # empty = the network's default
    policy: str
    # How long the job is expected to run; default 3600
    duration_s: int


class RerunChanges(TypedDict, total=False):
    # Higher goes first; -1 = as it was
    priority: int
    # Longest run; 0 = as it was
    timeout_s: int
    # Longest wait for a node; 0 = as it was
    queue_ttl_s: int
    # Seconds from now until a result is useless; 0 = none, -1 = as it was
    deadline_s: int
    # Failed runs to make up for; -1 = as it was
    max_retries: int
    # The same key and request make one job, however often it is sent
    idempotency_key: str


class ScheduleChanges(TypedDict, total=False):
    job: JobSpec
    # When: minute, hour, day of month, month, day of week, such as '*/15 8-18 * * mon-fri'
    cron: str
    # Time zone of the IANA database, such as Europe/Berlin
    timezone: str
    # skip: no new job while the schedule's last one is not over; allow: one every time
    overlap: Literal["allow", "skip"]
    # What it is for, to tell schedules apart
    name: str
    # Whether it makes no jobs for now
    paused: bool


class SubmitJob(TypedDict, total=False):
    # Any of these models; empty = any
    gpu_models: list[str]
    # GPUs of one node; default 1
    gpus: int
    # GB of memory per GPU; default 0
    min_vram_gb: int
    # All are needed; empty = what the job type needs by itself
    capabilities: list[
        Literal[
            "inference", "training", "fine_tuning", "render", "vision", "cpu_compute", "rag_indexing", "generic_compute"
        ]
    ]
    # Continent of the node; empty = any
    region: Literal["", "AF", "AS", "EU", "NA", "OC", "SA"]
    # Least reputation of the node; a new node has 100; default 0
    min_reputation: int
    # Highest price in HYPER as a decimal string, such as "0.25"; empty = no limit
    max_price_per_gpu_hour_hyper: str
    # What kind of work it is
    type: Required[JobType]
    # Model to run, such as qwen-7b
    model: str
    # What the model is asked
    prompt: str
    # Anything else the node's executor needs
    input: dict[str, Any]
    # How to choose the node: reputation_weighted, cheapest, fastest, spread, or one that this network has added;
    # empty = the network's default
    policy: str
    # Higher goes first; default 0
    priority: int
    # Longest run; 0 = the network's default
    timeout_s: int
    # Longest wait for a node; 0 = default
    queue_ttl_s: int
    # Failed runs to make up for; -1 = default
    max_retries: int
    # Seconds from now after which a result is of no use: the job then ends, wherever it stands; 0 = none
    deadline_s: int
    # Nodes it may be offered to, one after the other; 0 = any number
    max_attempts: int
    # Seconds to wait after a lost run; doubles with each further one; default 0
    retry_backoff_s: int
    # Longest of those waits; 0 = ten times the first
    retry_backoff_max_s: int
    # Nodes that do not get it again: failed = all that declined or lost it, last = only the last of them, none = none
    exclude_nodes: ExcludeNodes
    # When it may start; a time that has passed, or empty = now
    start_at: str
    # Or in how many seconds it may start; 0 = now
    delay_s: int
    # The same key and request make one job, however often it is sent
    idempotency_key: str


class SubmitPlan(TypedDict, total=False):
    # The tasks, in any order
    tasks: Required[list[PlanTask]]
    # HYPER that the whole plan may cost, such as "12.5"; never exceeded
    budget_hyper: Required[str]
    # What people know it by
    name: str
    # Seconds from now to end in; 0 = none
    deadline_s: int
    # Jobs under way at once, at most; default 50
    parallelism: int
    # What jobs offer at first; empty = the highest
    start_price_per_gpu_hour_hyper: str
    # By how much an offer is raised when no node takes it; empty = not at all
    raise_step_hyper: str
    # What jobs offer at most; needed
    max_price_per_gpu_hour_hyper: Required[str]
    # Seconds to wait for a node before each raise; default 30
    raise_after_s: int
    # When a job fails for good: retry it, replace its node, skip it, or abort the plan. Used-up tries abort the plan
    on_failure: FailurePolicy
    # Times that a job is tried by retry and replace; default 3
    max_tries: int
    # Runs of each job, of which most must come to the same result; odd; default 1
    redundancy: int
    # Only check it, and tell what it would come to; default False
    dry_run: bool
    # The same key and request make one job, however often it is sent
    idempotency_key: str


class AvailabilityAnswer(msgspec.Struct, kw_only=True):
    nodes_total: int
    nodes_online: int
    matching: int
    available_now: int
    free_slots: int
    cheapest_price_per_gpu_hour_hyper: str
    median_price_per_gpu_hour_hyper: str
    by_gpu_model: dict[str, int]
    rejects: dict[str, int]


class BudgetAnswer(msgspec.Struct, kw_only=True):
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


class CancelJobsAnswer(msgspec.Struct, kw_only=True):
    requested: int
    job_ids: list[str]
    unchanged: list[str]
    unknown: list[str]
    more: bool


class CandidateAnswer(msgspec.Struct, kw_only=True):
    node_id: str
    total: int
    score: int
    price_per_gpu_hour_hyper: str
    terms: dict[str, int]


class FeedPage(msgspec.Struct, kw_only=True):
    events: list[Told]
    next_after: int
    latest: int


class FieldError(msgspec.Struct, kw_only=True):
    """One wrong field: its JSON path (``requirements.gpu[0]``) or parameter name, and what is wrong."""

    field: str
    detail: str


class HookAnswer(msgspec.Struct, kw_only=True):
    hook_id: str
    url: str
    kinds: list[str]
    subject: str
    form: str
    created_at: str
    ended_at: str
    error: str


class HookDeleted(msgspec.Struct, kw_only=True):
    hook_id: str
    deleted: bool = True


class HookMade(msgspec.Struct, kw_only=True):
    hook_id: str
    url: str
    kinds: list[str]
    subject: str
    form: str
    created_at: str
    ended_at: str
    error: str
    secret: str


class HookPage(msgspec.Struct, kw_only=True):
    hooks: list[HookAnswer]
    next_cursor: str


class ItemProblem(msgspec.Struct, kw_only=True):
    code: str
    detail: str
    field: str
    retryable: bool
    next_action: str
    figures: dict[str, str] = {}


class JobAnswer(msgspec.Struct, kw_only=True):
    job_id: str
    type: str
    state: str
    reason: str
    version: int
    attempt: int
    final: bool
    cancel_requested: bool = False
    node_id: str = ""
    price_per_gpu_hour_hyper: str = ""
    cost_hyper: str = ""
    max_cost_hyper: str = ""
    settlement: str = "none"
    created_at: str = ""
    expires_at: str = ""
    deadline_at: str = ""
    assigned_at: str = ""
    started_at: str = ""
    finished_at: str = ""
    duration_ms: int = 0
    error: str = ""
    requirements_hash: str = ""
    start_at: str = ""
    cancel_by: str = ""
    rerun_of: str = ""
    schedule_id: str = ""
    result: Any = None
    logs: list[Any] = []
    metrics: dict[str, Any] = {}
    model: str = ""
    prompt: str = ""
    input: dict[str, Any] = {}
    priority: int = 0
    timeout_s: int = 0
    failures: int = 0
    max_retries: int = 0
    max_attempts: int = 0
    retry_backoff_s: int = 0
    retry_backoff_max_s: int = 0
    exclude_nodes: str = ""
    not_before: str = ""
    chain: JobOnChain | None = None


class JobHistory(msgspec.Struct, kw_only=True):
    job_id: str
    transitions: list[Transition]
    settlement: list[SettlementMove]


class JobMatch(msgspec.Struct, kw_only=True):
    job_id: str
    attempt: int = 0
    node_id: str = ""
    at: str = ""
    policy: str = ""
    verdict: str = ""
    told: str = ""
    feasible: int | None = None
    rejects: dict[str, int] = {}
    counted_at_version: int | None = None
    weights: dict[str, int] = {}
    scale: int = 0
    view_version: int = 0
    view_age_s: float | None = None
    chosen: dict[str, Any] = {}
    top: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    set_aside: int = 0
    busy: int = 0
    offline: int = 0
    relaxations: list[dict[str, Any]] = []


class JobOnChain(msgspec.Struct, kw_only=True):
    address: str
    chain_job_id: str
    price_hyper: str = ""
    status: str = ""
    payment: str = "none"
    payment_reason: str = ""
    mismatch: str = ""
    signatures: list[str] = []


class JobPage(msgspec.Struct, kw_only=True):
    jobs: list[JobSummary]
    next_cursor: str


class JobSummary(msgspec.Struct, kw_only=True):
    job_id: str
    type: str
    state: str
    reason: str
    version: int
    attempt: int
    final: bool
    cancel_requested: bool = False
    node_id: str = ""
    price_per_gpu_hour_hyper: str = ""
    cost_hyper: str = ""
    max_cost_hyper: str = ""
    settlement: str = "none"
    created_at: str = ""
    expires_at: str = ""
    deadline_at: str = ""
    assigned_at: str = ""
    started_at: str = ""
    finished_at: str = ""
    duration_ms: int = 0
    error: str = ""
    requirements_hash: str = ""
    start_at: str = ""
    cancel_by: str = ""
    rerun_of: str = ""
    schedule_id: str = ""


class MatchAnswer(msgspec.Struct, kw_only=True):
    matched: bool
    told: str
    feasible: int
    rejects: dict[str, int]
    candidates: list[CandidateAnswer]
    verdict: str
    busy: int
    offline: int
    relaxations: list[RelaxationAnswer]
    weights: dict[str, int]
    policy: str
    view_version: int
    view_age_s: float
    budget_remaining_hyper: str = ""


class MetricsAnswer(msgspec.Struct, kw_only=True):
    nodes_total: int
    nodes_active: int
    gpu_utilization: float
    jobs_total: int
    jobs_by_state: dict[str, int]
    avg_job_duration_ms: int
    hyper_paid: str
    nodes_by_region: dict[str, int]
    at: str


class OwnTool(msgspec.Struct, kw_only=True):
    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    example: dict[str, Any]
    annotations: ToolHints


class OwnTools(msgspec.Struct, kw_only=True):
    tools: list[OwnTool]


class PlanAnswer(msgspec.Struct, kw_only=True):
    plan_id: str
    name: str
    state: str
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
    plans: list[PlanSummary]
    next_cursor: str


class PlanSummary(msgspec.Struct, kw_only=True):
    plan_id: str
    name: str
    state: str
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


class Problem(msgspec.Struct, kw_only=True):
    """An RFC 9457 problem document; ``retry_after`` is in seconds. ``figures``: amounts that the refusal is about,
    decimal strings by name, such as those of a budget that is exceeded.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    retry_after: float | None
    next_action: str
    instance: str = ""
    field: str = ""
    errors: list[FieldError] = []
    figures: dict[str, str] = {}
    reference: str = ""


class QuoteAnswer(msgspec.Struct, kw_only=True):
    available_now: bool
    duration_s: int
    node_id: str
    price_per_gpu_hour_hyper: str
    cost_hyper: str
    cheapest_cost_hyper: str
    median_cost_hyper: str
    view_age_s: float
    budget_remaining_hyper: str = ""


class RelaxationAnswer(msgspec.Struct, kw_only=True):
    requirement: str
    from_: Any = msgspec.field(name="from")
    to: Any
    nodes: int
    text: str


class ScheduleAnswer(msgspec.Struct, kw_only=True):
    schedule_id: str
    name: str
    cron: str
    timezone: str
    overlap: str
    paused: bool
    job: dict[str, Any]
    runs: int
    skipped: int
    error: str
    next_at: str
    next_runs: list[str]
    last_at: str
    last_job_id: str
    created_at: str


class ScheduleDeleted(msgspec.Struct, kw_only=True):
    schedule_id: str
    deleted: bool = True


class SchedulePage(msgspec.Struct, kw_only=True):
    schedules: list[ScheduleAnswer]
    next_cursor: str


class SettlementMove(msgspec.Struct, kw_only=True):
    from_state: str
    to_state: str
    reason: str
    actor: str
    at: str


class SubmitAnswer(msgspec.Struct, kw_only=True):
    job_id: str
    state: str
    created: bool
    requirements_hash: str = ""
    budget_remaining_hyper: str = ""
    next_action: str = "Call wait_job with this job_id to wait for the result."


class SubmitJobsAnswer(msgspec.Struct, kw_only=True):
    created: int
    repeated: int
    refused: int
    results: list[SubmittedItem]
    budget_remaining_hyper: str = ""
    next_action: str = "Call wait_job with a job_id for its result, or list_jobs for many."


class SubmittedItem(msgspec.Struct, kw_only=True):
    index: int
    job_id: str = ""
    state: str = ""
    created: bool = False
    requirements_hash: str = ""
    problem: ItemProblem | None = None


class TaskAnswer(msgspec.Struct, kw_only=True):
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


class Told(msgspec.Struct, kw_only=True):
    position: int
    id: str
    kind: str
    at: str
    job_id: str
    node_id: str
    data: dict[str, Any]


class ToolHints(msgspec.Struct, kw_only=True):
    read_only: bool
    idempotent: bool
    destructive: bool
    scopes: list[str]


class Transition(msgspec.Struct, kw_only=True):
    from_state: str
    to_state: str
    attempt: int
    reason: str
    actor: str
    node_id: str
    at: str
    at_us: int
    hash: str


class UnitAnswer(msgspec.Struct, kw_only=True):
    task_id: str
    item: int
    state: str
    tries: int
    bid_per_gpu_hour_hyper: str
    cost_hyper: str
    job_ids: list[str]
    job_id: str
    error: str
