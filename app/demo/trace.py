"""The trace's nodes and jobs, and whether one suits the other: written without the matchmaker, to judge it."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files

from app.core.requirements import Capability


@dataclass(frozen=True, slots=True)
class TraceNode:
    """``vram_gb`` per GPU, ``capacity`` in slots, ``price`` in HYPER per GPU-hour, ``stake`` in HYPER."""

    id: str
    gpu_model: str
    gpus: int
    vram_gb: int
    capacity: int
    region: str
    reputation: int
    stake: Decimal
    completed: int
    failed: int
    price: Decimal
    capabilities: int


@dataclass(frozen=True, slots=True)
class TraceJob:
    """``submit_s`` and ``duration_s``: the trace's seconds. Empty ``models``, ``region`` and no ``max_price``: any."""

    id: str
    phase: str
    models: tuple[str, ...]
    gpus: int
    vram_gb: int
    submit_s: float
    duration_s: float
    priority: int
    capabilities: int
    min_reputation: int
    region: str
    max_price: Decimal | None


def violations(job: TraceJob, node: TraceNode, reputation: int) -> list[str]:
    """The requirements of ``job`` that ``node`` does not meet; ``reputation``: the node's at the time of the match."""
    broken = {
        "gpu_model": bool(job.models) and node.gpu_model not in job.models,
        "gpus": job.gpus > node.capacity or job.gpus > node.gpus,
        "vram": job.vram_gb > node.vram_gb,
        "capabilities": (job.capabilities & ~node.capabilities) != 0,
        "region": job.region not in ("", node.region),
        "reputation": job.min_reputation > reputation,
        "price": job.max_price is not None and node.price > job.max_price,
    }
    return [name for name, is_broken in broken.items() if is_broken]


def capability_names(mask: int) -> list[str]:
    """Names of the capabilities in a trace's mask, lowest bit first."""
    return [one.name.lower() for one in Capability if one.name and mask & one.value]


def replayed_s(duration_s: float) -> float:
    """How long a run of the trace lasts in the replay: 0.05 to 3 s, by the logarithm of its true duration.

    Durations span six orders of magnitude; the logarithm keeps their order, and short ones apart from long ones.
    """
    longest = math.log1p(150 * 86_400)
    return round(0.05 + 2.95 * min(1.0, math.log1p(max(0.0, duration_s)) / longest), 3)


def load_nodes() -> list[TraceNode]:
    """All nodes, in the order of the trace."""
    return [
        TraceNode(
            id=row["node_id"],
            gpu_model=row["m_gpu_model"],
            gpus=int(row["m_gpus"]),
            vram_gb=int(row["m_vram_gb"]),
            capacity=int(row["m_capacity"]),
            region=row["s_region"],
            reputation=int(row["s_reputation"]),
            stake=Decimal(row["s_stake_hyper"]),
            completed=int(row["s_jobs_completed"]),
            failed=int(row["s_jobs_failed"]),
            price=Decimal(row["s_price_per_gpu_h"]),
            capabilities=int(row["s_capabilities"]),
        )
        for row in _rows("nodes.csv")
    ]


def load_jobs() -> list[TraceJob]:
    """All jobs, in the order of their submission."""
    jobs = [
        TraceJob(
            id=row["job_id"],
            phase=row["o_pod_phase"],
            models=tuple(filter(None, row["m_gpu_models_any"].split("|"))),
            gpus=int(row["m_gpus"]),
            vram_gb=int(row["m_vram_min_gb"]),
            submit_s=float(row["m_submit_s"]),
            duration_s=float(row["m_duration_s"]),
            priority=int(row["m_priority"]),
            capabilities=int(row["s_capabilities"]),
            min_reputation=int(row["s_min_reputation"] or 0),
            region=row["s_region"],
            max_price=Decimal(row["s_max_price"]) if row["s_max_price"] else None,
        )
        for row in _rows("jobs.csv")
    ]
    return sorted(jobs, key=lambda job: (job.submit_s, job.id))


def _rows(name: str) -> Iterator[dict[str, str]]:
    with files("app.demo").joinpath("data", name).open(encoding="utf-8") as file:
        yield from csv.DictReader(file)
