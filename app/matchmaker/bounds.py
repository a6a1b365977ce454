"""What the best node of a block could be: upper bounds that let a search pass over whole blocks.

A bound may be too generous, never too strict: writes raise it at once, and lower it when the block is looked at anew.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from app.matchmaker.arrays import Ints, Mask, Positions, SmallInts, Words
from app.matchmaker.packing import (
    CAPABILITIES,
    COMPARED,
    DEREGISTERED,
    FREE,
    GUARD,
    LIVE,
    REGION,
    STATE,
    Probe,
    fieldwise_max,
)

NEVER: Final = 2**63 - 1
"""Least price of a block without nodes."""
NO_SCORE: Final = -1

_GUARD: Final = np.uint64(GUARD)
_OPEN: Final = np.uint64(1 << FREE.shift | LIVE.mask)
_CAPABILITIES: Final = np.uint64(CAPABILITIES.mask)
_REGION_SHIFT: Final = np.uint64(REGION.shift)
_REGION_BIT: Final = np.uint64(63)
_STATE_SHIFT: Final = np.uint64(STATE.shift)
_STATE_MOST: Final = np.uint64(STATE.most)
_ONE: Final = np.uint64(1)
_NONE: Final = np.uint64(0)
_FIELDS: Final = tuple(np.uint64(field.mask) for field in COMPARED)


def open_rows(have: Words) -> Mask:
    """Which of these rows could take some job now: live, with a free slot."""
    mask: Mask = ((have - _OPEN) & _GUARD) == _GUARD
    return mask


def known_rows(have: Words) -> Mask:
    """Which of these rows hold a node that the network knows: not vacant, not deregistered."""
    # DEREGISTERED is the last of the states, and VACANT above it.
    mask: Mask = ((have >> _STATE_SHIFT) & _STATE_MOST) < np.uint64(DEREGISTERED)
    return mask


class Bounds:
    """For each block the most its rows have, the least they cost and their highest score, of some of its rows.

    ``regions`` has a bit for every region code, modulo 64.
    """

    __slots__ = ("capabilities", "have", "price", "regions", "score")

    def __init__(self, blocks: int) -> None:
        self.have: Words = np.full(blocks, GUARD, np.uint64)
        self.capabilities: Words = np.zeros(blocks, np.uint64)
        self.regions: Words = np.zeros(blocks, np.uint64)
        self.price: Ints = np.full(blocks, NEVER, np.int64)
        self.score: SmallInts = np.full(blocks, NO_SCORE, np.int32)

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, name).nbytes for name in self.__slots__)

    def grown(self, blocks: int) -> Bounds:
        """A longer copy; the new blocks are empty."""
        longer = Bounds(blocks)
        for name in self.__slots__:
            getattr(longer, name)[: len(self.have)] = getattr(self, name)
        return longer

    def set(self, blocks: Positions, rows: Mask, *, have: Words, traits: Words, price: Ints, score: SmallInts) -> None:
        """Make the bounds of ``blocks`` exact for ``rows``; all arrays are blocks x 256."""
        words = np.where(rows, have, _NONE)
        most = np.full(len(blocks), GUARD, np.uint64)
        for field in _FIELDS:
            most |= (words & field).max(axis=1)
        self.have[blocks] = most
        kept = np.where(rows, traits, _NONE)
        self.capabilities[blocks] = np.bitwise_or.reduce(kept & _CAPABILITIES, axis=1)
        regions = np.where(rows, _ONE << ((traits >> _REGION_SHIFT) & _REGION_BIT), _NONE)
        self.regions[blocks] = np.bitwise_or.reduce(regions, axis=1)
        self.price[blocks] = np.where(rows, price, NEVER).min(axis=1)
        self.score[blocks] = np.where(rows, score, NO_SCORE).max(axis=1)

    def raise_to(self, block: int, *, have: int, traits: int, price: int, score: int) -> None:
        """Make sure that the bounds of ``block`` cover a row with these figures."""
        self.have[block] = fieldwise_max(int(self.have[block]), have)
        self.capabilities[block] = int(self.capabilities[block]) | (traits & CAPABILITIES.mask)
        self.regions[block] = int(self.regions[block]) | 1 << (REGION.of(traits) & 63)
        if price < self.price[block]:
            self.price[block] = price
        if score > self.score[block]:
            self.score[block] = score

    def passing(self, probe: Probe, blocks: Positions) -> Positions:
        """Those of ``blocks`` in which some row may fit the probe."""
        words = self.have[blocks]
        words -= np.uint64(probe.needle)
        words &= _GUARD
        ok: Mask = words == _GUARD
        if probe.capabilities:
            wanted = np.uint64(probe.capabilities)
            ok &= (self.capabilities[blocks] & wanted) == wanted
        if probe.region is not None:
            ok &= (self.regions[blocks] & np.uint64(1 << (probe.region & 63))) != _NONE
        if probe.max_price is not None:
            ok &= self.price[blocks] <= probe.max_price
        return blocks[ok]
