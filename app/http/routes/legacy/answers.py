"""Answers in the old engine's shapes: its consumers read these very names."""

import msgspec


class LegacyMatch(msgspec.Struct, rename="camel", kw_only=True):
    """``operator``: the node's wallet. ``vram`` in GB. ``score``: 0..1."""

    node_id: str
    operator: str
    gpu_model: str
    vram: int
    reputation: int
    score: float


class LegacyMatched(msgspec.Struct):
    success: bool
    match: LegacyMatch


class LegacyNoMatch(msgspec.Struct):
    success: bool
    reason: str


class LegacyTriggered(msgspec.Struct):
    success: bool


class LegacyMetrics(msgspec.Struct, rename="camel", kw_only=True):
    """``avg_job_duration`` in milliseconds, ``total_hyper_paid`` in HYPER."""

    total_nodes: int
    active_nodes: int
    total_jobs: int
    jobs_completed: int
    jobs_failed: int
    avg_job_duration: int
    total_hyper_paid: float


class RecentJob(msgspec.Struct, kw_only=True):
    """``price``: HYPER paid, null before the job is completed. ``tx_signature``: of its payment on chain, if any."""

    job_id: str
    job_type: str
    status: str
    price: float | None
    created_at: str
    completed_at: str | None
    tx_signature: str | None


class RecentNode(msgspec.Struct, kw_only=True):
    node_id: str
    gpu_model: str
    status: str
    reputation_score: int
    jobs_completed: int
    registered_at: str


class LegacyValidation(msgspec.Struct, rename="camel", kw_only=True):
    recent_jobs: list[RecentJob]
    recent_nodes: list[RecentNode]
    last_updated: str
