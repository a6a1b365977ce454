"""The terms of the score at their ends and in between."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.money import MAX_AMOUNT, UNIT
from app.matchmaker.terms import (
    SCALE,
    STAKE_CAP,
    completion_term,
    load_term,
    price_term,
    price_terms,
    reputation_term,
    response_term,
    stake_term,
)
from tests.support.oracle import stake_share
from tests.unit.matchmaker.cases import PRICES, STAKES


@given(STAKES, STAKES)
def test_more_stake_is_never_worth_less(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 0 <= stake_term(low) <= stake_term(high) <= SCALE


def test_stake_rises_through_every_octave_up_to_the_cap() -> None:
    octaves = [stake_term((2**n - 1) * UNIT) for n in range(21)]
    assert octaves == [n * SCALE // 20 for n in range(21)]
    assert all(low < high for low, high in pairwise(octaves))
    assert stake_term(STAKE_CAP) == stake_term(MAX_AMOUNT) == SCALE
    assert stake_term(STAKE_CAP - 1) == SCALE - 1


@given(st.integers(0, STAKE_CAP))
def test_stake_follows_the_logarithm(stake: int) -> None:
    # Straight lines lie at most 0.0861 of an octave below log2.
    below = math.log2(1 + stake / UNIT) / 20 - stake_term(stake) / SCALE
    assert -1e-9 <= below <= 0.0862 / 20 + 2e-6
    assert stake_term(stake) == stake_share(stake)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (reputation_term(0), 0),
        (reputation_term(999), 999_000),
        (reputation_term(1000), SCALE),
        (completion_term(0, 0), SCALE // 2),
        (completion_term(98, 0), 990_000),
        (completion_term(0, 98), 10_000),
        (load_term(0, 8), 0),
        (load_term(2, 8), 250_000),
        (load_term(8, 8), SCALE),
        (load_term(0, 0), 0),
        (response_term(0), SCALE // 2),
        (response_term(1), 990_099),
        (response_term(100), SCALE // 2),
        (response_term(900), 100_000),
        (price_term(7, 7), SCALE),
        (price_term(14, 7), SCALE // 2),
        (price_term(MAX_AMOUNT, 1), 0),
    ],
)
def test_known_values(term: int, expected: int) -> None:
    assert term == expected


@given(st.lists(PRICES, min_size=1, max_size=20))
def test_prices_at_once_equal_prices_one_by_one(prices: list[int]) -> None:
    cheapest = min(prices)
    terms = price_terms(np.array(prices, np.int64), cheapest).tolist()
    assert terms == [cheapest * SCALE // price for price in prices]


@pytest.mark.parametrize("cheapest", [MAX_AMOUNT // SCALE, MAX_AMOUNT // SCALE + 1])
def test_price_terms_are_exact_on_both_sides_of_the_overflow(cheapest: int) -> None:
    prices = [cheapest, cheapest + 1, 3 * cheapest, MAX_AMOUNT]
    terms = price_terms(np.array(prices, np.int64), cheapest).tolist()
    assert terms == [cheapest * SCALE // price for price in prices]
