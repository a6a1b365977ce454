"""The arrays of the view: one column a field, one slot a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InvalidInput
from app.core.money import MAX_AMOUNT
from app.core.nodes import NodeRecord
from app.core.requirements import MAX_REPUTATION
from app.core.states import NodeState

Mask: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
SmallInts: TypeAlias = NDArray[np.int32]
TinyInts: TypeAlias = NDArray[np.int16]
Hashes: TypeAlias = NDArray[np.uint64]
Positions: TypeAlias = NDArray[np.intp]

STATES: Final = tuple(NodeState)
STATE_CODES: Final = {state: code for code, state in enumerate(STATES)}
DEREGISTERED: Final = STATE_CODES[NodeState.DEREGISTERED]
VACANT: Final = 255
"""State code of a slot that holds no node."""

INT16_MAX: Final = 2**15 - 1
INT32_MAX: Final = 2**31 - 1

_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "gpus": (0, INT16_MAX),
    "vram_gb": (0, INT16_MAX),
    "capabilities": (0, INT32_MAX),
    "reputation": (0, MAX_REPUTATION),
    "stake": (0, MAX_AMOUNT),
    "price": (1, MAX_AMOUNT),
    "jobs_completed": (0, INT32_MAX),
    "jobs_failed": (0, INT32_MAX),
    "response_ms": (0, INT32_MAX),
    "capacity": (0, INT16_MAX),
    "version": (0, MAX_AMOUNT),
}


class Columns:
    """Arrays of equal length; 96 bytes a slot. ``free``, ``terms`` (N x 5) and ``score`` are derived."""

    __slots__ = (
        "capabilities",
        "capacity",
        "free",
        "gpu_model",
        "gpus",
        "jobs_completed",
        "jobs_failed",
        "online",
        "price",
        "region",
        "reputation",
        "response_ms",
        "score",
        "stake",
        "state",
        "terms",
        "tie",
        "version",
        "vram_gb",
    )

    def __init__(self, length: int) -> None:
        self.online: Mask = np.zeros(length, np.bool_)
        self.state = np.full(length, VACANT, np.uint8)
        self.gpu_model: SmallInts = np.zeros(length, np.int32)
        self.region: SmallInts = np.zeros(length, np.int32)
        self.gpus: TinyInts = np.zeros(length, np.int16)
        self.vram_gb: TinyInts = np.zeros(length, np.int16)
        self.capabilities: SmallInts = np.zeros(length, np.int32)
        self.reputation: TinyInts = np.zeros(length, np.int16)
        self.capacity: TinyInts = np.zeros(length, np.int16)
        self.free: TinyInts = np.zeros(length, np.int16)
        self.score: Ints = np.zeros(length, np.int64)
        self.price: Ints = np.ones(length, np.int64)
        self.stake: Ints = np.zeros(length, np.int64)
        self.jobs_completed: SmallInts = np.zeros(length, np.int32)
        self.jobs_failed: SmallInts = np.zeros(length, np.int32)
        self.response_ms: SmallInts = np.zeros(length, np.int32)
        self.version: Ints = np.zeros(length, np.int64)
        self.terms: SmallInts = np.zeros((length, 5), np.int32)
        self.tie: Hashes = np.zeros(length, np.uint64)

    def __len__(self) -> int:
        return len(self.online)

    @property
    def nbytes(self) -> int:
        return sum(self._array(name).nbytes for name in self.__slots__)

    def head(self, length: int) -> Columns:
        """The first ``length`` slots, sharing memory: writes to either show in both."""
        view = object.__new__(Columns)
        for name in self.__slots__:
            setattr(view, name, self._array(name)[:length])
        return view

    def grown(self, length: int) -> Columns:
        """A longer copy; the new slots are vacant."""
        longer = Columns(length)
        for name in self.__slots__:
            longer._array(name)[: len(self)] = self._array(name)
        return longer

    def _array(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = getattr(self, name)
        return array


class Codes:
    """Small integers for strings that repeat. A code stays for good: names are few, nodes are many."""

    __slots__ = ("_codes", "names")

    def __init__(self) -> None:
        self.names: list[str] = []
        self._codes: dict[str, int] = {}

    def code(self, name: str) -> int:
        """The name's code, a new one for a new name."""
        code = self._codes.get(name)
        if code is None:
            code = self._codes[name] = len(self.names)
            self.names.append(name)
        return code

    def find(self, name: str) -> int | None:
        """The name's code, or None when no node ever had that name."""
        return self._codes.get(name)


def check_record(record: NodeRecord) -> None:
    """Raise InvalidInput, naming the field, unless the record fits the columns and its slots add up."""
    for name, (low, high) in _RANGES.items():
        value = getattr(record, name)
        if not low <= value <= high:
            raise InvalidInput(f"node {record.id}: {name} is {value}, not in {low}..{high}", field=name)
    if not 0 <= record.active_jobs <= record.capacity:
        raise InvalidInput(
            f"node {record.id}: active_jobs is {record.active_jobs}, not in 0..{record.capacity}",
            field="active_jobs",
        )
