"""Percentiles by nearest rank."""

from __future__ import annotations

import pytest

from app.bench.figures import percentile


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1.0), (1, 1.0), (50, 50.0), (50.5, 51.0), (99, 99.0), (99.5, 100.0), (100, 100.0)]
)
def test_percentile_is_the_value_at_its_rank(percent: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], percent) == value


def test_one_value_is_every_percentile() -> None:
    assert percentile([7.0], 1) == percentile([7.0], 99) == 7.0


def test_of_nothing_it_is_nothing() -> None:
    assert percentile([], 50) == 0.0
