from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.core.money import MAX_AMOUNT, UNIT, format_hyper, parse_hyper, parse_price, run_cost

AMOUNTS = st.integers(0, MAX_AMOUNT)


@given(AMOUNTS)
@example(0)
@example(1)
@example(MAX_AMOUNT)
def test_what_is_written_is_read_back(amount: int) -> None:
    text = format_hyper(amount)
    assert parse_hyper(text) == amount
    assert Decimal(text) * UNIT == amount
    assert not text.endswith(".") and not ("." in text and text.endswith("0"))


@given(st.integers(-MAX_AMOUNT, -1))
def test_a_negative_amount_is_its_opposite_with_a_sign(amount: int) -> None:
    assert format_hyper(amount) == "-" + format_hyper(-amount)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2.5", 2_500_000_000), ("0", 0), ("0.000000001", 1), ("007", 7 * UNIT), ("1.10", 1_100_000_000)],
)
def test_decimal_strings(text: str, amount: int) -> None:
    assert parse_hyper(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", " ", "-1", "+1", "1e3", "1,5", ".5", "1.", "0.0000000001", "NaN", "inf", "0x1", "1 ", "٣", "1\n", "9" * 21,
     "9223372036.854775808"],
)  # fmt: skip
def test_anything_else_is_refused_and_named(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_hyper(text, "max_price")
    assert refused.value.field == "max_price" and "max_price" in refused.value.detail


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        amount = parse_hyper(text)
    except InvalidInput:
        return
    assert 0 <= amount <= MAX_AMOUNT


def test_a_price_is_more_than_nothing() -> None:
    assert parse_price("0.000000001") == 1
    with pytest.raises(InvalidInput):
        parse_price("0.0")


@given(AMOUNTS, st.integers(1, 64), st.integers(-5, 7 * 86_400_000))
@example(MAX_AMOUNT, 64, 604_800_000)
def test_a_run_costs_its_exact_time_rounded_up_and_can_be_stored(price: int, gpus: int, ms: int) -> None:
    exact = Fraction(price * gpus * max(ms, 0), 3_600_000)
    assert run_cost(price, gpus, ms) == min(MAX_AMOUNT, ceil(exact))
