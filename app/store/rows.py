"""From asyncpg rows to plain records, and values into JSONB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.core.jobs import Job, Offer
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import ExcludeNodes, JobState, NodeState, OfferState, Settlement

JOB_COLUMNS = (
    "id, account, type, state, settlement, reason, attempt, failures, version, gpu_models, gpus, min_vram_gb, "
    "capabilities, region, min_reputation, max_price, policy, priority, timeout_s, max_retries, queue_ttl_s, "
    "excluded, match_tries, cancel_requested, node_id, offer_id, price, cost, error, created_at, expires_at, "
    "assigned_at, started_at, finished_at, requirements_hash, chain_job, key_id, deadline_at, max_attempts, "
    "retry_backoff_s, retry_backoff_max_s, exclude_nodes, start_at, not_before, cancel_by, rerun_of, schedule_id, "
    "history_head, plan_id, plan_unit, max_cost, spend_day"
)
OFFER_COLUMNS = (
    "id, job_id, node_id, attempt, state, holds_slots, slots, price, reason, created_at, expires_at, decided_at, "
    "started_at, renewed_at"
)
NODE_COLUMNS = (
    "id, gpu_model, gpus, vram_gb, capabilities, region, reputation, stake, price, jobs_completed, jobs_failed, "
    "response_ms, state, capacity, active_jobs, version, penalty, trial"
)

Row = Mapping[str, Any]


def job_from(row: Row) -> Job:
    (
        job_id, account, kind, state, settlement, reason, attempt, failures, version, gpu_models, gpus, min_vram_gb,
        capabilities, region, min_reputation, max_price, policy, priority, timeout_s, max_retries, queue_ttl_s,
        excluded, match_tries, cancel_requested, node_id, offer_id, price, cost, error, created_at, expires_at,
        assigned_at, started_at, finished_at, requirements_hash, chain_job, key_id, deadline_at, max_attempts,
        retry_backoff_s, retry_backoff_max_s, exclude_nodes, *rest,
    ) = tuple(row.values())[:52]  # fmt: skip
    requirements = Requirements(tuple(gpu_models), gpus, min_vram_gb, capabilities, region, min_reputation, max_price)
    return Job(
        job_id, account, kind, JobState(state), Settlement(settlement), reason, attempt, failures, version,
        requirements, policy, priority, timeout_s, max_retries, queue_ttl_s, list(excluded), match_tries,
        cancel_requested, node_id, offer_id, price, cost, error, created_at, expires_at, assigned_at, started_at,
        finished_at, requirements_hash, chain_job, key_id, deadline_at, max_attempts, retry_backoff_s,
        retry_backoff_max_s, ExcludeNodes(exclude_nodes), *rest,
    )  # fmt: skip


def offer_from(row: Row) -> Offer:
    offer_id, job_id, node_id, attempt, state, *rest = tuple(row.values())[:14]
    return Offer(offer_id, job_id, node_id, attempt, OfferState(state), *rest)


_NODE_STATES = {state.value: state for state in NodeState}


def node_from(row: Any) -> NodeRecord:
    """From an asyncpg row that begins with NODE_COLUMNS. Slicing it is twice as fast as going by its mapping."""
    values = list(row[:18])
    values[12] = _NODE_STATES[values[12]]
    return NodeRecord(*values)


_encoder = msgspec.json.Encoder()


def to_json(value: Any) -> str:
    """Compact JSON text for a jsonb parameter; coming back, the connection decodes it (db.py)."""
    return _encoder.encode(value).decode()
