from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.retry import backoff_s


@given(st.integers(-3, 10_000), st.floats(0.01, 10), st.floats(0.01, 3600), st.floats(0, 1))
def test_a_delay_doubles_up_to_its_cap_give_or_take_the_jitter(
    tries: int, base_s: float, cap_s: float, jitter: float
) -> None:
    exact = min(cap_s, base_s * 2.0 ** min(max(tries - 1, 0), 60))
    delay = backoff_s(tries, base_s=base_s, cap_s=cap_s, jitter=jitter)
    assert exact * (1 - jitter) * 0.999 <= delay <= exact * (1 + jitter) * 1.001


def test_the_first_delays() -> None:
    assert [backoff_s(tries, base_s=0.1, cap_s=1.0, jitter=0.0) for tries in (1, 2, 3, 4, 5, 6)] == [
        0.1, 0.2, 0.4, 0.8, 1.0, 1.0,
    ]  # fmt: skip
