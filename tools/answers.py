"""From domain records to what agents see."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from app.core.errors import HaeError, InvalidInput
from app.core.jobs import Job
from app.core.money import format_hyper, parse_price
from app.core.requirements import (
    TYPE_CAPABILITIES,
    JobType,
    Requirements,
    normalise_gpu_model,
    parse_capabilities,
)
from app.services.jobs import JobView
from app.store.chain.job_links import JobLink
from tools.many_schemas import ItemProblem
from tools.schemas import JobAnswer, JobOnChain, JobSummary, Wants


def requirements_of(wants: Wants, job_type: JobType) -> Requirements:
    """The requirements an input stands for; the type's own capabilities where it names none. Raises InvalidInput."""
    price = wants.max_price_per_gpu_hour_hyper
    named = parse_capabilities(wants.capabilities) if wants.capabilities else int(TYPE_CAPABILITIES[job_type])
    return Requirements(
        gpu_models=tuple(sorted({normalise_gpu_model(name) for name in wants.gpu_models})),
        gpus=wants.gpus,
        min_vram_gb=wants.min_vram_gb,
        capabilities=named,
        region=wants.region,
        min_reputation=wants.min_reputation,
        max_price=parse_price(price, "max_price_per_gpu_hour_hyper") if price else None,
    )


def time_of(text: str, field: str) -> datetime | None:
    """The time that an RFC 3339 text stands for; None for an empty one. Raises InvalidInput."""
    if not text:
        return None
    try:
        at = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        raise InvalidInput(f"{field}: there is no time {text[:40]!r}", field=field) from None
    if at.tzinfo is None:
        raise InvalidInput(f"{field} needs a zone, such as Z for UTC", field=field)
    try:
        at.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(f"{field}: there is no time {text[:40]!r}", field=field) from None
    return at


def item_problem(error: HaeError) -> ItemProblem:
    """A refusal as a part of an answer about several things."""
    return ItemProblem(
        code=error.code,
        detail=error.detail,
        field=error.field,
        retryable=error.retryable,
        next_action=error.next_action,
        figures=error.figures,
    )


def stamp(at: datetime | None) -> str:
    """RFC 3339 in UTC with milliseconds; empty for None."""
    return "" if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def hyper(amount: int | None) -> str:
    """Decimal string; empty for None."""
    return "" if amount is None else format_hyper(amount)


def job_summary(job: Job) -> JobSummary:
    """The job as lists show it."""
    return JobSummary(**_told(job))


def job_answer(view: JobView) -> JobAnswer:
    """The job with its payload and its report."""
    given, told = view.payload, view.report or {}
    return JobAnswer(
        **_told(view.job),
        result=told.get("result"),
        logs=told.get("logs") or [],
        metrics=told.get("metrics") or {},
        model=given.get("model", ""),
        prompt=given.get("prompt", ""),
        input=given.get("input", {}),
        priority=view.job.priority,
        timeout_s=view.job.timeout_s,
        failures=view.job.failures,
        max_retries=view.job.max_retries,
        max_attempts=view.job.max_attempts,
        retry_backoff_s=view.job.retry_backoff_s,
        retry_backoff_max_s=view.job.retry_backoff_max_s,
        exclude_nodes=view.job.exclude_nodes.value,
        not_before=stamp(view.job.not_before),
        chain=UNSET if view.chain is None else _on_chain(view.chain),
    )


def _on_chain(link: JobLink) -> JobOnChain:
    return JobOnChain(
        address=link.address,
        chain_job_id=link.chain_job_id,
        price_hyper=hyper(link.price),
        status=link.status,
        payment=link.payment,
        payment_reason=link.payment_reason or "",
        mismatch=link.mismatch or "",
        signatures=link.signatures,
    )


def _told(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "type": job.type,
        "state": job.state.value,
        "reason": job.reason,
        "version": job.version,
        "attempt": job.attempt,
        "final": job.final,
        "cancel_requested": job.cancel_requested,
        "node_id": job.node_id or "",
        "price_per_gpu_hour_hyper": hyper(job.price),
        "cost_hyper": hyper(job.cost),
        "max_cost_hyper": hyper(job.max_cost),
        "settlement": job.settlement.value,
        "created_at": stamp(job.created_at),
        "expires_at": stamp(job.expires_at),
        "deadline_at": stamp(job.deadline_at),
        "assigned_at": stamp(job.assigned_at),
        "started_at": stamp(job.started_at),
        "finished_at": stamp(job.finished_at),
        "duration_ms": job.duration_ms or 0,
        "error": job.error or "",
        "requirements_hash": job.requirements_hash,
        "start_at": stamp(job.start_at),
        "cancel_by": stamp(job.cancel_by),
        "rerun_of": job.rerun_of or "",
        "schedule_id": job.schedule_id or "",
    }
