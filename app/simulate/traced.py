"""Networks and jobs out of the packaged trace of a real GPU cluster, scaled by drawing from it again."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from app.core.errors import InvalidInput
from app.core.money import UNIT
from app.core.requirements import MAX_REPUTATION, Requirements, normalise_gpu_model
from app.demo.trace import TraceJob, TraceNode, load_jobs, load_nodes
from app.matchmaker.arrays import Codes, Ints
from app.matchmaker.batch import NodeBatch
from app.simulate.dice import Dice
from app.simulate.workload import Workload, network_of, numbered

RESPONSE_MS = (20, 35, 50, 70, 90, 120, 170, 260, 450, 900, 2000)
"""Deciles of the time that nodes take to answer an offer; the trace has none."""
KEY_SHARES = (40, 20, 13, 10, 8, 5, 3, 1)
"""How many of a hundred jobs each API key submits: few agents submit most; the trace names none."""
_HOUR_MS = 3_600_000


def traced_network(count: int, seed: int) -> NodeBatch:
    """``count`` nodes of the trace, drawn by ``seed``; more than it has are drawn again, each a little different.

    Price within 10 %, reputation within 25 points of the node it was drawn from.
    """
    rows = load_nodes()
    dice = Dice(seed, "nodes")
    picked = dice.sample(len(rows), count)
    models, regions = Codes(), Codes()
    columns = {name: column[picked] for name, column in _columns(rows, models, regions).items()}
    if count > len(rows):
        columns["price"] = columns["price"] * dice.between(900, 1100, count) // 1000
        moved = columns["reputation"] + dice.between(-25, 25, count)
        columns["reputation"] = np.clip(moved, 0, MAX_REPUTATION)
    columns["response_ms"] = dice.along(RESPONSE_MS, count)
    return network_of(numbered("node", count), models.names, regions.names, columns)


def traced_jobs(count: int, hours: int, seed: int) -> Workload:
    """``count`` jobs drawn like the nodes, over ``hours``: the trace's arrivals, made faster, with their bursts.

    The trace's first hundredth, which is spread over months, begins with the rest.
    """
    rows = load_jobs()
    dice = Dice(seed, "jobs")
    submits = np.array([round(job.submit_s * 1000) for job in rows], np.int64)
    first, last = int(submits[len(rows) // 100]), int(submits[-1])
    picked = dice.sample(len(rows), count)
    gap = max(1, (last - first) // len(rows)) if count > len(rows) else 1
    since = np.maximum(submits[picked] - first, 0) + dice.below(min(gap, 2**32), count)
    submit = since * (hours * _HOUR_MS // 1000) // ((last - first + gap) // 1000 + 1)
    return _workload(rows, picked, submit, dice.pick(KEY_SHARES, count))


def busiest_hours(hours: int, seed: int) -> Workload:
    """The ``hours`` of the trace in which most jobs came, in real time, and the jobs that ran when they began."""
    rows = load_jobs()
    submits = np.array([round(job.submit_s * 1000) for job in rows], np.int64)
    span = hours * _HOUR_MS
    if span > int(submits[-1]):
        raise InvalidInput(f"the trace has {int(submits[-1]) // _HOUR_MS} hours", field="hours")
    begin = busiest(submits, span)
    ends = submits + _durations(rows)
    warm = np.flatnonzero((submits < begin) & (ends > begin))
    fresh = np.flatnonzero((submits >= begin) & (submits < begin + span))
    picked = np.concatenate((warm, fresh))
    keys = Dice(seed, "jobs").pick(KEY_SHARES, len(rows))[picked]
    workload = _workload(rows, picked, np.maximum(submits[picked] - begin, 0), keys)
    workload.warm = len(warm)
    workload.duration_ms[: len(warm)] = ends[warm] - begin
    return workload


def busiest(submit_ms: Ints, span_ms: int) -> int:
    """When the time of that length begins in which most were submitted, the first of them; ``submit_ms`` ascending."""
    within = np.searchsorted(submit_ms, submit_ms + span_ms) - np.arange(len(submit_ms))
    return int(submit_ms[int(np.argmax(within))])


def _workload(rows: list[TraceJob], picked: Ints, submit: Ints, keys: Ints) -> Workload:
    places: dict[Requirements, int] = {}
    kind = np.array([places.setdefault(requirements_of(job), len(places)) for job in rows], np.int64)
    order = np.argsort(submit, kind="stable")
    picked = picked[order]
    used, kind = np.unique(kind[picked], return_inverse=True)
    kinds = list(places)
    return Workload(
        kinds=[kinds[at] for at in used.tolist()],
        kind=kind.astype(np.int64),
        submit_ms=submit[order],
        duration_ms=_durations(rows)[picked],
        priority=np.array([job.priority for job in rows], np.int64)[picked],
        key=keys[order],
        keys=len(KEY_SHARES),
    )


def requirements_of(job: TraceJob) -> Requirements:
    """What the trace's job asks, in the engine's words."""
    return Requirements(
        gpu_models=tuple(normalise_gpu_model(name) for name in job.models),
        gpus=job.gpus,
        min_vram_gb=job.vram_gb,
        capabilities=job.capabilities,
        region=job.region,
        min_reputation=job.min_reputation,
        max_price=None if job.max_price is None else _base_units(job.max_price),
    )


def _durations(rows: list[TraceJob]) -> Ints:
    return np.array([max(1, round(job.duration_s * 1000)) for job in rows], np.int64)


def _columns(rows: list[TraceNode], models: Codes, regions: Codes) -> dict[str, Ints]:
    values = {
        "gpu_model": [models.code(normalise_gpu_model(node.gpu_model)) for node in rows],
        "region": [regions.code(node.region) for node in rows],
        "gpus": [node.gpus for node in rows],
        "vram_gb": [node.vram_gb for node in rows],
        "capabilities": [node.capabilities for node in rows],
        "reputation": [node.reputation for node in rows],
        "stake": [_base_units(node.stake) for node in rows],
        "price": [_base_units(node.price) for node in rows],
        "jobs_completed": [node.completed for node in rows],
        "jobs_failed": [node.failed for node in rows],
        "capacity": [node.capacity for node in rows],
    }
    return {name: np.array(column, np.int64) for name, column in values.items()}


def _base_units(amount: Decimal) -> int:
    return int(amount * UNIT)
