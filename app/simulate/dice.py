"""Luck by seed: whole numbers only, so that a seed gives the same on every machine.

Streams are raw output of PCG64, whose bits NumPy promises to keep (NEP 19); what Generator makes of them may change
between versions, and floating point between machines.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.matchmaker.arrays import Ints

_WORD = 2**64 - 1
PPM = 1_000_000
"""Chances are given in millionths."""


class Dice:
    """An endless stream of numbers of its own for each seed and purpose."""

    def __init__(self, seed: int, purpose: str) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]))

    def words(self, count: int) -> NDArray[np.uint64]:
        """``count`` numbers of 64 bits."""
        return np.asarray(self._bits.random_raw(count), np.uint64)

    def below(self, bound: int, count: int) -> Ints:
        """``count`` numbers in 0..bound - 1, ``bound`` at most 2**32: even to one part in 2**32 / bound."""
        scaled = (self.words(count) >> np.uint64(32)) * np.uint64(bound)
        return (scaled >> np.uint64(32)).astype(np.int64)

    def between(self, low: int, high: int, count: int) -> Ints:
        """``count`` numbers in low..high, both included."""
        return low + self.below(high - low + 1, count)

    def pick(self, shares: Sequence[int], count: int) -> Ints:
        """``count`` positions in ``shares``, each as often as its share says."""
        edges = np.cumsum(np.asarray(shares, np.int64))
        return np.searchsorted(edges, self.below(int(edges[-1]), count), side="right").astype(np.int64)

    def along(self, quantiles: Sequence[int], count: int) -> Ints:
        """``count`` numbers of the distribution with these quantiles, evenly spaced, straight lines between them."""
        curve = np.asarray(quantiles, np.int64)
        at = self.below((len(curve) - 1) << 16, count)
        step, rest = at >> 16, at & 0xFFFF
        low = curve[step]
        values: Ints = low + (((curve[step + 1] - low) * rest) >> 16)
        return values

    def sample(self, population: int, count: int) -> Ints:
        """``count`` positions out of ``population``: each at most once while there are enough, repeated otherwise.

        Ascending when none is repeated; all of them when ``count`` is the population.
        """
        if count > population:
            return self.below(population, count)
        order = np.argsort(self.words(population), kind="stable")
        return np.sort(order[:count]).astype(np.int64)


def mix(word: int) -> int:
    """A hash of 64 bits: splitmix64's finaliser (Steele, Lea, Flood 2014)."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return word ^ (word >> 31)


def threshold(ppm: int) -> int:
    """A hash's 32 bits are below this with a chance of ``ppm`` millionths."""
    return (ppm << 32) // PPM
