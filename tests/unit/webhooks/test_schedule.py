from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.schedule import DELAYS_S, MAX_TRIES, next_delay_s


def test_the_schedule_is_that_of_standard_webhooks() -> None:
    assert DELAYS_S == (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


@pytest.mark.parametrize("tries", range(1, MAX_TRIES))
def test_each_failed_try_is_followed_by_its_delay(tries: int) -> None:
    delay = next_delay_s(tries)
    assert delay is not None
    assert DELAYS_S[tries] * 0.9 <= delay <= DELAYS_S[tries] * 1.1


@pytest.mark.parametrize("tries", [MAX_TRIES, MAX_TRIES + 1, 1000])
def test_after_the_last_try_there_is_none(tries: int) -> None:
    assert next_delay_s(tries) is None
    assert next_delay_s(tries, 5.0) is None


@given(tries=st.integers(1, MAX_TRIES - 1), asked=st.floats(0, 86400))
def test_never_before_the_receiver_asked(tries: int, asked: float) -> None:
    delay = next_delay_s(tries, asked)
    assert delay is not None
    assert delay >= asked
    assert delay <= max(DELAYS_S[tries], asked) * 1.1


def test_jitter_spreads() -> None:
    assert len({next_delay_s(3) for _ in range(20)}) > 1
