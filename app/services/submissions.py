"""What agents ask for: a job as it was wished for, and how that becomes one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app.core.access import Principal
from app.core.errors import InvalidInput
from app.core.jobs import Job, NewJob
from app.core.requirements import Requirements
from app.core.states import ExcludeNodes


@dataclass(frozen=True, slots=True)
class Submission:
    """A validated wish for a job. ``payload``: of the names in PAYLOAD, for the node.

    ``requirements_hash``: of the request as it was made (app/services/canonical.py); what a job on chain carries.
    ``deadline_s``: seconds from submission after which the result is of no use, 0 = none. ``start_at``, or
    ``delay_s`` from submission: when it may first be matched, None and 0 = at once, as for a time that has passed.
    ``rerun_of``: the job that it repeats; ``schedule_id``: the schedule that makes it.
    """

    principal: Principal
    type: str
    payload: dict[str, Any]
    requirements: Requirements
    policy: str
    priority: int
    timeout_s: int
    max_retries: int
    queue_ttl_s: int
    idempotency_key: str = ""
    source: str = "api"
    requirements_hash: str = ""
    deadline_s: int = 0
    max_attempts: int = 0
    retry_backoff_s: int = 0
    retry_backoff_max_s: int = 0
    exclude_nodes: ExcludeNodes = ExcludeNodes.FAILED
    start_at: datetime | None = None
    delay_s: int = 0
    rerun_of: str | None = None
    schedule_id: str | None = None

    def digest(self) -> str:
        """sha256 of the request's canonical form: equal requests have equal digests."""
        asked = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in _IDENTITY}
        for name, default in _LATER.items():
            # Left out, so that digests stored before there were these fields stay comparable.
            if asked[name] == default:
                del asked[name]
        return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()


PAYLOAD = ("model", "prompt", "input")

_IDENTITY = frozenset({"principal", "idempotency_key", "source", "requirements_hash"})
"""Not what is asked for: who asks, or another name of it. (Stored digests must stay comparable, too.)"""

_LATER: dict[str, Any] = {
    "deadline_s": 0,
    "max_attempts": 0,
    "retry_backoff_s": 0,
    "retry_backoff_max_s": 0,
    "exclude_nodes": ExcludeNodes.FAILED,
    "start_at": None,
    "delay_s": 0,
    "rerun_of": None,
    "schedule_id": None,
}
"""Fields that came later, with their defaults."""


def start_of(one: Submission, now: datetime) -> datetime | InvalidInput | None:
    """When the job starts if that lies ahead, None = at once; why it may not start then."""
    start = now + timedelta(seconds=one.delay_s) if one.delay_s else one.start_at
    if start is None or start <= now:
        return None
    if start > now + _AHEAD:
        return InvalidInput(f"a start may lie {_AHEAD.days} days ahead at most", field="start_at")
    if one.deadline_s and start >= now + timedelta(seconds=one.deadline_s):
        return InvalidInput("the job would start after its deadline, which counts from now", field="deadline_s")
    return start


_AHEAD = timedelta(days=366)


def new_job(job_id: str, one: Submission, start_at: datetime | None, chain_job: str | None = None) -> NewJob:
    """The job as the store takes it."""
    return NewJob(
        job_id, one.principal.account, one.principal.key_id, one.type, one.payload, one.requirements, one.policy,
        one.priority, one.timeout_s, one.max_retries, one.queue_ttl_s, one.source, one.requirements_hash, chain_job,
        one.deadline_s, start_at, one.max_attempts, one.retry_backoff_s, one.retry_backoff_max_s, one.exclude_nodes,
        one.rerun_of, one.schedule_id,
    )  # fmt: skip


def repeated(job: Job, payload: dict[str, Any], principal: Principal, source: str) -> Submission:
    """What the job was asked to be, to be asked for once more: at once, even where the first time was later."""
    return Submission(
        principal=principal,
        type=job.type,
        payload=payload,
        requirements=job.requirements,
        policy=job.policy,
        priority=job.priority,
        timeout_s=job.timeout_s,
        max_retries=job.max_retries,
        queue_ttl_s=job.queue_ttl_s,
        source=source,
        requirements_hash=job.requirements_hash,
        deadline_s=0 if job.deadline_at is None else round((job.deadline_at - job.created_at).total_seconds()),
        max_attempts=job.max_attempts,
        retry_backoff_s=job.retry_backoff_s,
        retry_backoff_max_s=job.retry_backoff_max_s,
        exclude_nodes=job.exclude_nodes,
    )
