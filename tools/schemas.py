"""What tools take and give. Flat, with defaults that are never null and units in the names: models read these."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.core.requirements import MAX_GPUS, MAX_REPUTATION, MAX_VRAM_GB, JobType
from app.core.states import ExcludeNodes

RegionName = Literal["", "AF", "AS", "EU", "NA", "OC", "SA"]
CapabilityName = Literal[
    "inference",
    "training",
    "fine_tuning",
    "render",
    "vision",
    "cpu_compute",
    "rag_indexing",
    "generic_compute",
]
GpuModel = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[^|\x00-\x1f]+$")]
Hyper = Annotated[
    str,
    Meta(max_length=40, description='Highest price in HYPER as a decimal string, such as "0.25"; empty = no limit'),
]
JobId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=40,
        pattern=r"^[A-Za-z0-9_\-]+$",
        description="The job_id that submit_job returned",
        examples=["job_01jd3k5m7p9r1t3v5x7z9b1d3f"],
    ),
]
PolicyName = Annotated[
    str,
    Meta(
        max_length=40,
        pattern=r"^[A-Za-z0-9_]*$",
        description="How to choose the node: reputation_weighted, cheapest, fastest, spread, or one that this network "
        "has added; empty = the network's default",
    ),
]
Type = Annotated[JobType, Meta(description="What kind of work it is")]
Seconds = Annotated[int, Meta(ge=1, le=604_800)]
Time = Annotated[
    str,
    Meta(
        max_length=40,
        pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2}))?$",
        description="A time with its zone (RFC 3339), such as 2027-01-31T09:00:00Z; empty = none",
    ),
]
IdempotencyKey = Annotated[
    str, Meta(max_length=200, description="The same key and request make one job, however often it is sent")
]


class Input(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of all tool inputs: unknown fields are refused, so that a misspelt one is not ignored."""


class Wants(Input, kw_only=True):
    """What a job asks of a node. The defaults ask for any online node with one free GPU."""

    gpu_models: Annotated[list[GpuModel], Meta(max_length=16, description="Any of these models; empty = any")] = []
    gpus: Annotated[int, Meta(ge=1, le=MAX_GPUS, description="GPUs of one node")] = 1
    min_vram_gb: Annotated[int, Meta(ge=0, le=MAX_VRAM_GB, description="GB of memory per GPU")] = 0
    capabilities: Annotated[
        list[CapabilityName],
        Meta(max_length=8, description="All are needed; empty = what the job type needs by itself"),
    ] = []
    region: Annotated[RegionName, Meta(description="Continent of the node; empty = any")] = ""
    min_reputation: Annotated[
        int, Meta(ge=0, le=MAX_REPUTATION, description="Least reputation of the node; a new node has 100")
    ] = 0
    max_price_per_gpu_hour_hyper: Hyper = ""


class JobSpec(Wants, kw_only=True):
    """What a job is to do: what its requirements hash is the hash of."""

    type: Type
    model: Annotated[str, Meta(max_length=200, description="Model to run, such as qwen-7b")] = ""
    prompt: Annotated[str, Meta(max_length=100_000, description="What the model is asked")] = ""
    input: Annotated[dict[str, Any], Meta(description="Anything else the node's executor needs")] = {}
    policy: PolicyName = ""
    priority: Annotated[int, Meta(ge=0, le=9, description="Higher goes first")] = 0
    timeout_s: Annotated[int, Meta(ge=0, le=604_800, description="Longest run; 0 = the network's default")] = 0
    queue_ttl_s: Annotated[int, Meta(ge=0, le=604_800, description="Longest wait for a node; 0 = default")] = 0
    max_retries: Annotated[int, Meta(ge=-1, le=20, description="Failed runs to make up for; -1 = default")] = -1
    deadline_s: Annotated[
        int,
        Meta(
            ge=0,
            le=604_800,
            description="Seconds from now after which a result is of no use: the job then ends, wherever it stands; "
            "0 = none",
        ),
    ] = 0
    max_attempts: Annotated[
        int, Meta(ge=0, le=10_000, description="Nodes it may be offered to, one after the other; 0 = any number")
    ] = 0
    retry_backoff_s: Annotated[
        int,
        Meta(ge=0, le=86_400, description="Seconds to wait after a lost run; doubles with each further one"),
    ] = 0
    retry_backoff_max_s: Annotated[
        int, Meta(ge=0, le=604_800, description="Longest of those waits; 0 = ten times the first")
    ] = 0
    exclude_nodes: Annotated[
        ExcludeNodes,
        Meta(
            description="Nodes that do not get it again: failed = all that declined or lost it, last = only the last "
            "of them, none = none"
        ),
    ] = ExcludeNodes.FAILED


class SubmitJob(JobSpec, kw_only=True):
    """A job to run."""

    start_at: Annotated[Time, Meta(description="When it may start; a time that has passed, or empty = now")] = ""
    delay_s: Annotated[int, Meta(ge=0, le=31_536_000, description="Or in how many seconds it may start; 0 = now")] = 0
    idempotency_key: IdempotencyKey = ""


class Match(Wants, kw_only=True):
    """A match on trial."""

    type: Type = JobType.GENERIC_COMPUTE
    policy: PolicyName = ""
    explain: Annotated[
        bool, Meta(description="Also count the other nodes, and tell what change would help; false = candidates only")
    ] = True


class Availability(Wants, kw_only=True):
    """A look at what is there."""

    type: Type = JobType.GENERIC_COMPUTE


class Quote(Wants, kw_only=True):
    """A price to ask for."""

    type: Type = JobType.GENERIC_COMPUTE
    policy: PolicyName = ""
    duration_s: Annotated[Seconds, Meta(description="How long the job is expected to run")] = 3600


class GetJob(Input, kw_only=True):
    job_id: JobId


class CancelJob(Input, kw_only=True):
    job_id: JobId


class WatchJob(Input, kw_only=True):
    """``seen_version``: the job's version you know; the answer comes as soon as there is a newer one."""

    job_id: JobId
    wait_s: Annotated[float, Meta(ge=0, le=45, description="Longest wait in seconds")] = 30.0
    until: Annotated[
        Literal["final", "change"], Meta(description="final: wait for the end; change: for anything new")
    ] = "final"
    seen_version: Annotated[
        int, Meta(ge=0, le=2_147_483_647, description="With until=change: the version you have; 0 = the present one")
    ] = 0


class NetworkMetrics(Input, kw_only=True):
    pass


class JobSummary(msgspec.Struct, kw_only=True):
    """A job as lists show it. Empty strings stand for what is not there yet; times are UTC, RFC 3339.

    ``requirements_hash``: sha256 of what was asked for, as a job on chain names it.
    ``version`` rises with every change of state; ``attempt`` counts the nodes it was tried on; ``final``: over for
    good. ``start_at``: when a scheduled job starts. ``cancel_by``: when a run that is being cancelled is over at the
    latest. ``rerun_of``: the job that it repeats; ``schedule_id``: the schedule that made it. ``cost_hyper``: what a
    completed run cost, in HYPER, ``max_cost_hyper``: what it may cost at most, empty = whatever its run comes to;
    ``duration_ms``: from the node's acceptance to the end.
    """

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


class JobOnChain(msgspec.Struct, kw_only=True):
    """A job's account on chain. ``price_hyper``: what the whole job pays; ``status``: as the chain has it.

    ``payment``: none, observed (not final yet, or not to be verified), valid or invalid, then with
    ``payment_reason``. ``mismatch``: assigned_operator or completed_operator where the chain names another operator
    than the one the engine chose. ``signatures``: transactions of its payments, oldest first.
    """

    address: str
    chain_job_id: str
    price_hyper: str = ""
    status: str = ""
    payment: str = "none"
    payment_reason: str = ""
    mismatch: str = ""
    signatures: list[str] = []


class JobAnswer(JobSummary, kw_only=True):
    """A job with what was asked and what its node reported. ``result`` is any JSON, null before there is one.

    ``failures``: runs it has lost, of ``max_retries`` that it may; ``max_attempts``: nodes it may be offered to, 0 =
    any number; ``not_before``: until when it waits after a lost run. ``chain``: its account on chain, left out while it
    has none.
    """

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
    # Left out, for want of a schema without alternatives that says null or an object.
    chain: JobOnChain | UnsetType = UNSET


class SubmitAnswer(msgspec.Struct, kw_only=True):
    """``created`` is false when the idempotency key had made this job before; ``state`` is the job's present one.

    ``requirements_hash``: what a job on chain has to carry to be this one. ``budget_remaining_hyper``: what further
    jobs of today may cost, empty where the key has no cap.
    """

    job_id: str
    state: str
    created: bool
    requirements_hash: str = ""
    budget_remaining_hyper: str = ""
    next_action: str = "Call wait_job with this job_id to wait for the result."


class CandidateAnswer(msgspec.Struct, kw_only=True):
    """``total`` decides; it and the terms are millionths of the best possible."""

    node_id: str
    total: int
    score: int
    price_per_gpu_hour_hyper: str
    terms: dict[str, int]


class RelaxationAnswer(msgspec.Struct, kw_only=True):
    """One change of the input that would find a node now. ``requirement``: the argument to change; ``from`` and ``to``:
    its value now and the smallest change that helps; ``nodes``: how many nodes that opens; ``text``: all of it."""

    requirement: str
    from_: Any = msgspec.field(name="from")
    to: Any
    nodes: int
    text: str


class MatchAnswer(msgspec.Struct, kw_only=True):
    """``told``: the outcome in words. ``verdict``: why there is no node (busy, offline, declined, never_fits) or empty.

    ``rejects`` counts nodes by the first requirement they fail; with ``feasible`` they are all. Without a match,
    ``busy`` and ``offline`` count the nodes that fit but for that, and ``relaxations`` are changes that would find one.
    Not explained: ``feasible`` is -1. ``budget_remaining_hyper``: as in SubmitAnswer.
    """

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


class AvailabilityAnswer(msgspec.Struct, kw_only=True):
    """``matching``: online nodes that suit, busy or not; ``available_now``: of those, with enough free slots."""

    nodes_total: int
    nodes_online: int
    matching: int
    available_now: int
    free_slots: int
    cheapest_price_per_gpu_hour_hyper: str
    median_price_per_gpu_hour_hyper: str
    by_gpu_model: dict[str, int]
    rejects: dict[str, int]


class QuoteAnswer(msgspec.Struct, kw_only=True):
    """Costs in HYPER for ``duration_s``; empty strings where no node suits. ``budget_remaining_hyper``: what jobs of
    today may cost, empty where the key has no cap."""

    available_now: bool
    duration_s: int
    node_id: str
    price_per_gpu_hour_hyper: str
    cost_hyper: str
    cheapest_cost_hyper: str
    median_cost_hyper: str
    view_age_s: float
    budget_remaining_hyper: str = ""


class MetricsAnswer(msgspec.Struct, kw_only=True):
    """``nodes_active``: heard from in the last five minutes. ``gpu_utilization``: slots in use, 0..1."""

    nodes_total: int
    nodes_active: int
    gpu_utilization: float
    jobs_total: int
    jobs_by_state: dict[str, int]
    avg_job_duration_ms: int
    hyper_paid: str
    nodes_by_region: dict[str, int]
    at: str
