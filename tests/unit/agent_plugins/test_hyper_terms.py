"""Terms that a Hyper Agent is offered: never below the cheapest, never above the ceiling, reached by whole raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_plugins.hyper_agent.terms import terms
from app.core.money import format_hyper, parse_hyper

amounts = st.integers(1, 10**15)


def candidates(*prices: str) -> list[dict[str, str]]:
    return [{"price_per_gpu_hour_hyper": price} for price in prices]


@pytest.mark.parametrize(
    ("prices", "ceiling", "expected"),
    [
        (("0.2", "0.1"), "0.6", ("0.1", "0.1", "0.6")),
        (("0.3", "0.1"), "", ("0.1", "0.04", "0.3")),
        (("0.2",), "", ("0.2", "", "0.2")),
        (("0.2",), "nonsense", ("0.2", "", "0.2")),
    ],
)
def test_from_the_cheapest_to_the_ceiling(prices: tuple[str, ...], ceiling: str, expected: tuple[str, ...]) -> None:
    found = terms(candidates(*prices), ceiling)
    assert tuple(found.values()) == expected
    assert list(found) == ["start_price_per_gpu_hour_hyper", "raise_step_hyper", "max_price_per_gpu_hour_hyper"]


@pytest.mark.parametrize(("prices", "ceiling"), [((), ""), ((), "1"), (("", "none"), "1"), (("0.2",), "0.1")])
def test_none_where_nobody_has_a_price_that_may_be_paid(prices: tuple[str, ...], ceiling: str) -> None:
    assert terms(candidates(*prices), ceiling) == {}


@given(prices=st.lists(amounts, min_size=1, max_size=5), ceiling=amounts)
def test_five_raises_reach_the_ceiling_and_none_passes_it(prices: list[int], ceiling: int) -> None:
    found = terms(candidates(*map(format_hyper, prices)), format_hyper(ceiling))
    if ceiling < min(prices):
        assert found == {}
        return
    first, step, most = (parse_hyper(value or "0") for value in found.values())
    assert (first, most) == (min(prices), ceiling)
    assert first + 5 * step >= most
    assert 5 * (step - 1) < most - first or step == 0
