"""Columns into the packed words of the index, many nodes at a time."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.matchmaker import packing as p
from app.matchmaker.arrays import Mask, Words

Column: TypeAlias = NDArray[np.integer[Any]]


def pack(
    *,
    gpus: Column,
    vram_gb: Column,
    reputation: Column,
    state: Column,
    capacity: Column,
    active: Column,
    capabilities: Column,
    region: Column,
    penalty: Column,
    trial: Column,
    live: Mask,
) -> tuple[Words, Words]:
    """The words ``have`` and ``traits`` of nodes with these figures; each must fit its field."""
    free = np.where((trial > 0) & (active > 0), 0, capacity - active)
    have = _joined(
        p.GUARD,
        (p.FREE, free),
        (p.GPUS, gpus),
        (p.VRAM, vram_gb),
        (p.REPUTATION, reputation),
        (p.LIVE, live),
        (p.CAPACITY, capacity),
        (p.ACTIVE, active),
        (p.STATE, state),
    )
    traits = _joined(0, (p.CAPABILITIES, capabilities), (p.REGION, region), (p.PENALTY, penalty), (p.TRIAL, trial))
    return have, traits


def _joined(start: int, *fields: tuple[p.Field, NDArray[Any]]) -> Words:
    words: Words = np.full(len(fields[0][1]), start, np.uint64)
    for field, column in fields:
        words |= column.astype(np.uint64) << np.uint64(field.shift)
    return words
