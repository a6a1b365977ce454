"""The arrays of the index: one column a field, one slot a node, slots in blocks of 256."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.matchmaker.arrays import Ints, Mask, SmallInts, SmallWords, Words
from app.matchmaker.packing import (
    CAPABILITIES,
    CAPACITY,
    EMPTY,
    FREE,
    GPUS,
    LIVE,
    REGION,
    REPUTATION,
    STATE,
    VRAM,
    Field,
)

BLOCK: Final = 256
"""Slots of a block: few enough to be scanned in microseconds, enough to make the bounds small."""


class Columns:
    """Arrays of equal length, whole blocks; 60 bytes a slot. ``score`` is derived, so are parts of ``have``.

    ``have`` and ``traits`` are packed (packing.py). ``version`` counts modulo 2**32. ``tie`` is the hash that breaks
    ties; ``seen`` the last sign of life in whole seconds of the database's clock, 0 = unknown. ``have_blocks`` and
    ``traits_blocks`` are the same memory as blocks x 256.
    """

    __slots__ = (
        "completed",
        "failed",
        "have",
        "have_blocks",
        "price",
        "response",
        "score",
        "seen",
        "stake",
        "tie",
        "traits",
        "traits_blocks",
        "version",
    )
    NAMES: Final = tuple(name for name in __slots__ if not name.endswith("_blocks"))

    def __init__(self, blocks: int) -> None:
        length = blocks * BLOCK
        self.have: Words = np.full(length, EMPTY, np.uint64)
        self.traits: Words = np.zeros(length, np.uint64)
        self.price: Ints = np.ones(length, np.int64)
        self.stake: Ints = np.zeros(length, np.int64)
        self.completed: SmallInts = np.zeros(length, np.int32)
        self.failed: SmallInts = np.zeros(length, np.int32)
        self.response: SmallInts = np.zeros(length, np.int32)
        self.score: SmallInts = np.zeros(length, np.int32)
        self.version: SmallWords = np.zeros(length, np.uint32)
        self.tie: SmallWords = np.zeros(length, np.uint32)
        self.seen: SmallWords = np.zeros(length, np.uint32)
        self.have_blocks: Words = self.have.reshape(-1, BLOCK)
        self.traits_blocks: Words = self.traits.reshape(-1, BLOCK)

    def __len__(self) -> int:
        return len(self.have)

    @property
    def nbytes(self) -> int:
        return sum(self.column(name).nbytes for name in self.NAMES)

    def column(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = getattr(self, name)
        return array

    def grown(self, blocks: int) -> Columns:
        """A longer copy; the new slots are vacant."""
        longer = Columns(blocks)
        for name in self.NAMES:
            longer.column(name)[: len(self)] = self.column(name)
        return longer


class Rows:
    """Columns unpacked for scans over all nodes: each array is computed when it is first asked for.

    Good until the table is written again. Vacant slots are not online and have the state VACANT. Slots are in use up
    to ``length``.
    """

    def __init__(self, columns: Columns, models: SmallInts, length: int) -> None:
        self._columns = columns
        self._models = models
        self.length = length

    def __len__(self) -> int:
        return self.length

    def _have(self, field: Field) -> Ints:
        return (self._columns.have[: self.length] >> np.uint64(field.shift) & np.uint64(field.most)).astype(np.int64)

    def _trait(self, field: Field) -> Ints:
        return (self._columns.traits[: self.length] >> np.uint64(field.shift) & np.uint64(field.most)).astype(np.int64)

    @property
    def free(self) -> Ints:
        """Not kept: it changes with every assumed job."""
        return self._have(FREE)

    @cached_property
    def online(self) -> Mask:
        """Online by its row and not silent."""
        return self._have(LIVE) > 0

    @cached_property
    def state(self) -> Ints:
        return self._have(STATE)

    @cached_property
    def gpu_model(self) -> SmallInts:
        return np.repeat(self._models, BLOCK)

    @cached_property
    def region(self) -> Ints:
        return self._trait(REGION)

    @cached_property
    def gpus(self) -> Ints:
        return self._have(GPUS)

    @cached_property
    def vram_gb(self) -> Ints:
        return self._have(VRAM)

    @cached_property
    def capabilities(self) -> Ints:
        return self._trait(CAPABILITIES)

    @cached_property
    def reputation(self) -> Ints:
        return self._have(REPUTATION)

    @cached_property
    def capacity(self) -> Ints:
        return self._have(CAPACITY)

    @property
    def price(self) -> Ints:
        return self._columns.price[: self.length]
