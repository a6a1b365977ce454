"""Price strips: how finely the blocks of a model are sorted by price."""

from __future__ import annotations

import numpy as np

from app.matchmaker.arrays import Ints


def price_strip(price: int) -> int:
    """Prices within a fifth or so of each other share a strip: four to an octave."""
    bits = price.bit_length()
    return bits * 4 + (price << 3 >> bits & 3 if bits >= 3 else 0)


def price_strips(prices: Ints) -> Ints:
    """price_strip of many, for sorting: equal order, found by doubles."""
    mantissa, exponent = np.frexp(prices.astype(np.float64))
    return exponent.astype(np.int64) * 4 + ((mantissa - 0.5) * 8).astype(np.int64)
