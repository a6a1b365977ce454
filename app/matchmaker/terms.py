"""The terms of a node's score: integers in 0..SCALE, equal on every machine.

Fixed point and integer division throughout: libm's log differs in the last bit between platforms, and one
bit is enough to make two replicas choose different nodes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from app.core.money import MAX_AMOUNT, UNIT
from app.core.requirements import MAX_REPUTATION
from app.matchmaker.columns import Ints

SCALE: Final = 1_000_000
"""The fixed point's 1.0."""

STAKE_OCTAVES: Final = 20
STAKE_CAP: Final = (2**STAKE_OCTAVES - 1) * UNIT
"""Stake, in base units, from which on more stake adds nothing: 1,048,575 HYPER."""

RESPONSE_REF_MS: Final = 100
"""A node that answers offers in this time gets half of the response term."""


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
    return reputation * SCALE // MAX_REPUTATION


def price_term(price: int, cheapest: int) -> int:
    """cheapest / price: SCALE for the cheapest feasible node, half of it at twice the price."""
    return cheapest * SCALE // price


def price_terms(prices: Ints, cheapest: int) -> Ints:
    """price_term of every price, exact up to the largest amount; no price is below ``cheapest``."""
    if cheapest <= MAX_AMOUNT // SCALE:
        return (cheapest * SCALE) // prices
    # Above 9,223 HYPER per GPU-hour as the cheapest offer the numerator leaves int64.
    return np.array([price_term(price, cheapest) for price in prices.tolist()], np.int64)


def terms_of(
    *, reputation: int, stake: int, completed: int, failed: int, free: int, capacity: int, response_ms: int
) -> Terms:
    """All five terms of a node."""
    return Terms(
        reputation=reputation_term(reputation),
        stake=stake_term(stake),
        completion=completion_term(completed, failed),
        load=load_term(free, capacity),
        response=response_term(response_ms),
    )
