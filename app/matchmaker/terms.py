"""The terms of a node's score: integers in 0..SCALE, equal on every machine.

Fixed point and integer division throughout: libm's log differs in the last bit between platforms, and one
bit is enough to make two replicas choose different nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from app.core.money import MAX_AMOUNT, UNIT
from app.core.requirements import MAX_REPUTATION
from app.matchmaker.arrays import Ints

SCALE: Final = 1_000_000
"""The fixed point's 1.0."""

STAKE_OCTAVES: Final = 20
STAKE_CAP: Final = (2**STAKE_OCTAVES - 1) * UNIT
"""Stake, in base units, from which on more stake adds nothing: 1,048,575 HYPER."""

RESPONSE_REF_MS: Final = 100
"""A node that answers offers in this time gets half of the response term."""


_SAFE: Final = 2**33

Column: TypeAlias = Callable[[], Ints]


class Terms(NamedTuple):
    """The five terms that make up the score."""

    reputation: int
    stake: int
    completion: int
    load: int
    response: int


def stake_term(stake: int) -> int:
    """``log2(1 + stake in HYPER) / STAKE_OCTAVES``, linear within an octave; SCALE from STAKE_CAP on."""
    shifted = min(stake, STAKE_CAP) + UNIT
    octave = (shifted // UNIT).bit_length() - 1
    start = UNIT << octave
    return (octave * SCALE + (shifted - start) * SCALE // start) // STAKE_OCTAVES


def completion_term(completed: int, failed: int) -> int:
    """Laplace's rule of succession: (completed + 1) / (completed + failed + 2), one half without history."""
    return (completed + 1) * SCALE // (completed + failed + 2)


def load_term(free: int, capacity: int) -> int:
    """Share of the slots that are free; 0 for a node without slots."""
    return free * SCALE // capacity if capacity else 0


def response_term(response_ms: int) -> int:
    """ref / (ref + response_ms); one half for a node that has not answered yet (0)."""
    if response_ms == 0:
        return SCALE // 2
    return RESPONSE_REF_MS * SCALE // (RESPONSE_REF_MS + response_ms)


def reputation_term(reputation: int) -> int:
    """Of the reputation less the node's penalty."""
    return reputation * SCALE // MAX_REPUTATION


def price_term(price: int, cheapest: int) -> int:
    """cheapest / price: SCALE for the cheapest feasible node, half of it at twice the price."""
    return cheapest * SCALE // price


def price_terms(prices: Ints, cheapest: int) -> Ints:
    """price_term of every price, exact up to the largest amount; no price is below ``cheapest``."""
    if cheapest < _SAFE and len(prices) and prices[prices.argmax()] < _SAFE:
        # The quotient of whole numbers below 2**53 is off by less than 1 / price, so rounding cannot reach the next
        # whole number. Dividing doubles is many times faster than dividing integers.
        return ((cheapest * SCALE) / prices).astype(np.int64)
    if cheapest <= MAX_AMOUNT // SCALE:
        return (cheapest * SCALE) // prices
    # Above 9,223 HYPER per GPU-hour as the cheapest offer the numerator leaves int64.
    return np.array([price_term(price, cheapest) for price in prices.tolist()], np.int64)


def terms_of(
    *,
    reputation: int,
    stake: int,
    completed: int,
    failed: int,
    free: int,
    capacity: int,
    response_ms: int,
    penalty: int = 0,
) -> Terms:
    """All five terms of a node."""
    return Terms(
        reputation=reputation_term(max(0, reputation - penalty)),
        stake=stake_term(stake),
        completion=completion_term(completed, failed),
        load=load_term(free, capacity),
        response=response_term(response_ms),
    )


def stake_terms(stakes: Ints) -> Ints:
    """stake_term of every stake, to the same unit."""
    shifted = np.minimum(stakes, STAKE_CAP) + UNIT
    # Whole HYPER below 2**21 are exact in a double, so is the octave.
    octaves = np.frexp((shifted // UNIT).astype(np.float64))[1].astype(np.int64) - 1
    starts = UNIT << octaves
    # (shifted - start) * SCALE // start in two steps of a thousand: in one it would leave int64.
    thousandths, rest = np.divmod((shifted - starts) * 1000, starts)
    within = thousandths * 1000 + rest * 1000 // starts
    terms: Ints = (octaves * SCALE + within) // STAKE_OCTAVES
    return terms


def term_arrays(
    *,
    reputation: Column,
    penalty: Column,
    stake: Column,
    completed: Column,
    failed: Column,
    free: Column,
    capacity: Column,
    response_ms: Column,
    wanted: Terms,
) -> Iterator[tuple[int, Ints]]:
    """The terms of many nodes, int64, as ``(weight, values)`` for each weight of ``wanted`` that is not 0.

    Columns are functions, so that those of terms without weight are never made.
    """
    if wanted.reputation:
        yield wanted.reputation, np.maximum(reputation() - penalty(), 0) * SCALE // MAX_REPUTATION
    if wanted.stake:
        yield wanted.stake, stake_terms(stake())
    if wanted.completion:
        good = completed()
        yield wanted.completion, (good + 1) * SCALE // (good + failed() + 2)
    if wanted.load:
        slots = capacity()
        yield wanted.load, np.where(slots > 0, free() * SCALE // np.maximum(slots, 1), 0)
    if wanted.response:
        waited = response_ms()
        answered = RESPONSE_REF_MS * SCALE // (RESPONSE_REF_MS + waited)
        yield wanted.response, np.where(waited == 0, SCALE // 2, answered)
