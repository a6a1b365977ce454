"""The figures of a run. All but ``wall`` are whole-number arithmetic to the last division: equal for equal seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.matchmaker.arrays import Ints
from app.matchmaker.terms import SCALE
from app.simulate.loop import Run
from app.simulate.trail import HoldEnd, JobEnd, Trail
from app.simulate.workload import Scene

VERSION = 1
BUCKETS = 240
"""Points of the curves over time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``figures``: plain JSON data, see docs/simulation.md. ``waits``: milliseconds of the placed jobs, ascending."""

    policy: str
    figures: dict[str, Any]
    waits: Ints


def outcome(run: Run, policy: str, wall_s: float, memory_mb: float) -> Outcome:
    """The figures of a run that has ended. ``wall_s``, ``memory_mb``: of the process, reported as they are."""
    scene, trail, workload = run.scene, run.trail, run.scene.workload
    counted = slice(workload.warm, None)
    ends = np.frombuffer(trail.ends, np.uint8)[counted]
    seen = ends != JobEnd.UNSEEN
    waited = np.array(trail.waits, np.int64)[counted]
    waits = np.sort(waited[waited >= 0])
    hopeless = np.array(run.reference.never_fits, np.bool_)[workload.kind[counted]]
    jobs = {"counted": int(seen.sum()), "never_fits": int((hopeless & seen).sum())}
    jobs |= {end.name.lower(): int((ends == end).sum()) for end in JobEnd if end is not JobEnd.UNSEEN}
    busy, taken, queue = _loads(scene, trail)
    hold_ends = np.frombuffer(trail.hold_end, np.uint8)
    slots = int(scene.network.capacity.sum())
    figures: dict[str, Any] = {
        "version": VERSION,
        "source": scene.source,
        "policy": policy,
        "seed": scene.seed,
        "complete": trail.complete,
        "nodes": len(scene.network),
        "slots": slots,
        "virtual_s": rounded(trail.end_ms, 1000, 3),
        "jobs": jobs,
        "placed_pct": rounded(100 * len(waits), jobs["counted"], 4),
        "expired_pct": rounded(100 * jobs["expired"], jobs["counted"], 4),
        "wait_s_p50": _percentile_s(waits, 50),
        "wait_s_p99": _percentile_s(waits, 99),
        "price_ratio": rounded(trail.overpaid, trail.accepted * SCALE, 6),
        "response_ms": rounded(trail.response, trail.accepted, 3),
        "regret": rounded(trail.regret, trail.accepted * SCALE, 6),
        "load_gini": gini(busy // np.maximum(scene.network.capacity, 1)),
        "fairness_jain": jain(_granted(scene, trail)),
        "utilisation_pct": rounded(100 * int(taken.sum()), slots * trail.end_ms, 4),
        "offers": {"made": len(hold_ends)} | {end.name.lower(): int((hold_ends == end).sum()) for end in HoldEnd},
        "outages": len(trail.outages),
        "over_time": {
            "bucket_s": rounded(trail.end_ms, BUCKETS * 1000, 3),
            "utilisation_pct": [rounded(100 * BUCKETS * each, slots * trail.end_ms, 3) for each in taken.tolist()],
            "queue": [rounded(BUCKETS * each, trail.end_ms, 2) for each in queue.tolist()],
        },
        "wall": {
            "match_us_p50": _percentile_us(trail, 50),
            "match_us_p99": _percentile_us(trail, 99),
            "seconds": round(wall_s, 2),
            "jobs_per_s": round(jobs["counted"] / wall_s, 1) if wall_s else 0.0,
            "peak_memory_mb": round(memory_mb, 1),
        },
    }
    return Outcome(policy, figures, waits)


def gini(values: Ints) -> float:
    """Gini coefficient, 0 = all equal, towards 1 = one has all; 0 when nobody has any. Values are at least 0."""
    ordered = np.sort(values)
    count, total = len(ordered), int(ordered.sum())
    if not total:
        return 0.0
    # The sum of running sums leaves 64 bits where a million nodes are busy for days: add parts of it up in Python.
    running = np.cumsum(ordered)
    area = sum(int(part.sum()) for part in np.array_split(running, count // 1000 + 1))
    return rounded((count + 1) * total - 2 * area, count * total, 6)


def jain(shares: Sequence[int]) -> float:
    """Jain's index of fairness (Jain, Chiu, Hawe 1984): 1 = all shares equal, 1/n = one has all."""
    squares = sum(share * share for share in shares)
    return rounded(sum(shares) ** 2, len(shares) * squares, 6) if squares else 1.0


def _granted(scene: Scene, trail: Trail) -> list[int]:
    """Of each key that asked for any, the share of the slots it asked for that it got, in millionths."""
    workload = scene.workload
    counted = np.arange(workload.warm, len(workload))
    counted = counted[np.frombuffer(trail.ends, np.uint8)[counted] != JobEnd.UNSEEN]
    slots = np.array([kind.gpus for kind in workload.kinds], np.int64)[workload.kind[counted]]
    placed = np.array(trail.waits, np.int64)[counted] >= 0
    asked, got = np.zeros(workload.keys, np.int64), np.zeros(workload.keys, np.int64)
    np.add.at(asked, workload.key[counted], slots)
    np.add.at(got, workload.key[counted][placed], slots[placed])
    return [SCALE * have // want for have, want in zip(got.tolist(), asked.tolist(), strict=True) if want]


def _loads(scene: Scene, trail: Trail) -> tuple[Ints, Ints, Ints]:
    """Slot-milliseconds of each node, slot-milliseconds of all in each bucket, and job-milliseconds of the backlog."""
    workload, end = scene.workload, trail.end_ms
    begun, over = _until(trail.hold_from, trail.hold_to, end)
    gpus = np.array([kind.gpus for kind in workload.kinds], np.int64)
    slots = gpus[workload.kind[np.array(trail.hold_job, np.int64)]]
    busy = np.zeros(len(scene.network), np.int64)
    np.add.at(busy, np.array(trail.hold_node, np.int64), slots * (over - begun))
    edges = np.arange(BUCKETS + 1, dtype=np.int64) * end // BUCKETS
    came, left = _until(trail.stay_from, trail.stay_to, end)
    return busy, areas(begun, over, slots, edges), areas(came, left, np.ones(len(came), np.int64), edges)


def _until(begin: Sequence[int], finish: Sequence[int], end: int) -> tuple[Ints, Ints]:
    over = np.array(finish, np.int64)
    return np.array(begin, np.int64), np.where(over < 0, end, over)


def areas(begin: Ints, finish: Ints, weight: Ints, edges: Ints) -> Ints:
    """Between each two edges, the integral of the sum of the weights of the intervals under way."""
    if not len(begin):
        return np.zeros(len(edges) - 1, np.int64)
    times = np.concatenate((begin, finish))
    order = np.argsort(times, kind="stable")
    times = times[order]
    level = np.cumsum(np.concatenate((weight, -weight))[order])
    before = np.concatenate(([0], np.cumsum(level[:-1] * np.diff(times))))
    at = np.searchsorted(times, edges, side="right") - 1
    upto = np.where(at < 0, 0, before[at] + level[at] * (edges - times[at]))
    areas: Ints = np.diff(upto)
    return areas


def rounded(part: int, whole: int, digits: int) -> float:
    """part / whole; 0 of nothing."""
    return round(part / whole, digits) if whole else 0.0


def percentile(ascending: Ints, percent: int) -> int:
    """Nearest rank; 0 of nothing."""
    return int(ascending[-(-len(ascending) * percent // 100) - 1]) if len(ascending) else 0


def _percentile_s(waits_ms: Ints, percent: int) -> float:
    return round(percentile(waits_ms, percent) / 1000, 3)


def _percentile_us(trail: Trail, percent: int) -> float:
    return round(percentile(np.sort(np.array(trail.match_ns, np.int64)), percent) / 1000, 1)
