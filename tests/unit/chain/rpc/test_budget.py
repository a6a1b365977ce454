from __future__ import annotations

import pytest

from app.chain.rpc.budget import Budget


def test_no_limit_never_waits() -> None:
    budget = Budget(0)
    assert [budget.reserve(1000, now) for now in (0.0, 0.0, 1.0)] == [0.0, 0.0, 0.0]


def test_turns_are_in_order_and_a_batch_counts_its_requests() -> None:
    budget = Budget(4)
    assert budget.reserve(1, 10.0) == 0.0
    assert budget.reserve(1, 10.0) == pytest.approx(0.25)
    assert budget.reserve(4, 10.0) == pytest.approx(1.25)
    assert budget.reserve(1, 10.0) == pytest.approx(1.5)


def test_what_was_not_used_is_kept_for_a_quarter_of_a_second_only() -> None:
    budget = Budget(100)
    budget.reserve(25, 0.0)
    assert budget.reserve(25, 3600.0) == 0.0
    assert budget.reserve(25, 3600.0) == pytest.approx(0.25)


def test_no_stretch_of_time_sees_more_than_its_share() -> None:
    budget, per_s = Budget(10), 10
    sent = sorted(now + budget.reserve(cost, now) for now, cost in [(0.01 * n, 1 + n % 3) for n in range(200)])
    costs = [1 + n % 3 for n in range(200)]
    for start in range(0, 200, 17):
        for end in range(start + 1, 200, 13):
            # The last one counts whole, however large.
            assert sum(costs[start:end]) <= per_s * (sent[end] - sent[start] + 0.25) + 3 + 1e-6


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    budget = Budget(1)
    assert budget.reserve(1, 5.0) == 0.0
    assert budget.reserve(1, 4.0) == pytest.approx(1.0)
    assert budget.reserve(1, 5.0) == pytest.approx(1.0)
