"""When a failed delivery is tried again: ten tries over three days, as Standard Webhooks suggests."""

from __future__ import annotations

import random

_MINUTE, _HOUR = 60.0, 3600.0

DELAYS_S = (
    0.0,
    5.0,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
"""Seconds to wait before try 1, 2, … 10."""

MAX_TRIES = len(DELAYS_S)
_JITTER = 0.1


def next_delay_s(tries: int, retry_after_s: float | None = None) -> float | None:
    """Seconds until the next try after ``tries`` failed ones (from 1), ± 10 %; None when the schedule is used
    up.

    Never earlier than ``retry_after_s``, the time the receiver asked for.
    """
    if tries >= MAX_TRIES:
        return None
    delay = DELAYS_S[max(tries, 0)] * random.uniform(1 - _JITTER, 1 + _JITTER)
    if retry_after_s is None:
        return delay
    return max(delay, retry_after_s * random.uniform(1, 1 + _JITTER))
