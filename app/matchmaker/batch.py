"""Many nodes at once, as columns: what a whole network is loaded from, and the small news of it that travel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InvalidInput
from app.core.money import MAX_AMOUNT
from app.core.nodes import NodeRecord
from app.core.requirements import MAX_REPUTATION
from app.matchmaker.packing import CAPACITY, GPUS, STATE_CODES, TRIAL, VRAM

INT32_MAX = 2**31 - 1

RANGES: dict[str, tuple[int, int]] = {
    "gpus": (0, GPUS.most),
    "vram_gb": (0, VRAM.most),
    "capabilities": (0, INT32_MAX),
    "reputation": (0, MAX_REPUTATION),
    "stake": (0, MAX_AMOUNT),
    "price": (1, MAX_AMOUNT),
    "jobs_completed": (0, INT32_MAX),
    "jobs_failed": (0, INT32_MAX),
    "response_ms": (0, INT32_MAX),
    "capacity": (0, CAPACITY.most),
    "version": (0, MAX_AMOUNT),
    "penalty": (0, MAX_REPUTATION),
    "trial": (0, TRIAL.most),
}
"""What the index can hold of each field, both ends included."""


@dataclass(slots=True)
class NodeBatch:
    """Columns of equal length, one entry a node; ids are distinct. Fields mean what they mean in NodeRecord.

    ``gpu_model`` and ``region`` are positions in ``models`` and ``regions``; ``state`` is a position in
    packing.STATES. Integers of any width will do.
    """

    ids: list[str]
    models: Sequence[str]
    regions: Sequence[str]
    gpu_model: NDArray[np.integer]
    region: NDArray[np.integer]
    gpus: NDArray[np.integer]
    vram_gb: NDArray[np.integer]
    capabilities: NDArray[np.integer]
    reputation: NDArray[np.integer]
    stake: NDArray[np.integer]
    price: NDArray[np.integer]
    jobs_completed: NDArray[np.integer]
    jobs_failed: NDArray[np.integer]
    response_ms: NDArray[np.integer]
    state: NDArray[np.integer]
    capacity: NDArray[np.integer]
    active_jobs: NDArray[np.integer]
    version: NDArray[np.integer]
    penalty: NDArray[np.integer]
    trial: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.ids)

    def check(self) -> None:
        """Raise InvalidInput, naming the node and the field, unless every value fits the index."""
        for name, (low, high) in RANGES.items():
            column = getattr(self, name)
            if len(column) and not (int(column.min()) >= low and int(column.max()) <= high):
                at = int(np.flatnonzero((column < low) | (column > high))[0])
                raise _out_of_range(self.ids[at], name, int(column[at]), low, high)
        wrong = np.flatnonzero((self.active_jobs < 0) | (self.active_jobs > self.capacity))
        if len(wrong):
            at = int(wrong[0])
            raise _out_of_range(self.ids[at], "active_jobs", int(self.active_jobs[at]), 0, int(self.capacity[at]))


@dataclass(slots=True)
class NodeDeltas:
    """The figures of nodes that change often, as one commit left them; columns as in NodeBatch."""

    ids: list[str]
    version: NDArray[np.integer]
    state: NDArray[np.integer]
    active_jobs: NDArray[np.integer]
    reputation: NDArray[np.integer]
    jobs_completed: NDArray[np.integer]
    jobs_failed: NDArray[np.integer]
    response_ms: NDArray[np.integer]
    penalty: NDArray[np.integer]
    trial: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.ids)


_PLAIN = (
    "gpus", "vram_gb", "capabilities", "reputation", "stake", "price", "jobs_completed", "jobs_failed", "response_ms",
    "capacity", "active_jobs", "version", "penalty", "trial",
)  # fmt: skip

_figures = attrgetter(*_PLAIN)
_FEW = 16
"""Records that are checked one by one: from there on it is cheaper by columns."""


def check_record(record: NodeRecord) -> None:
    """Raise InvalidInput, naming the field, unless the index can hold the record and its slots add up."""
    for name, (low, high) in RANGES.items():
        value = getattr(record, name)
        if not low <= value <= high:
            raise _out_of_range(record.id, name, value, low, high)
    if not 0 <= record.active_jobs <= record.capacity:
        raise _out_of_range(record.id, "active_jobs", record.active_jobs, 0, record.capacity)


def batch_of(records: Sequence[NodeRecord]) -> NodeBatch:
    """The records as columns. Raises InvalidInput, naming the field, on one that the index cannot hold."""
    if len(records) < _FEW:
        for record in records:
            check_record(record)
    try:
        figures = np.array([_figures(record) for record in records], np.int64).reshape(-1, len(_PLAIN))
    except OverflowError:
        for record in records:
            check_record(record)
        raise
    models, regions = _places([r.gpu_model for r in records]), _places([r.region for r in records])
    batch = NodeBatch(
        ids=[r.id for r in records],
        models=list(models),
        regions=list(regions),
        gpu_model=np.array([models[r.gpu_model] for r in records], np.int64),
        region=np.array([regions[r.region] for r in records], np.int64),
        state=np.array([STATE_CODES[r.state] for r in records], np.int64),
        **dict(zip(_PLAIN, figures.T, strict=True)),
    )
    if len(records) >= _FEW:
        batch.check()
    return batch


def _places(names: list[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(dict.fromkeys(names))}


def _out_of_range(node_id: str, field: str, value: int, low: int, high: int) -> InvalidInput:
    return InvalidInput(f"node {node_id}: {field} is {value}, not in {low}..{high}", field=field)
