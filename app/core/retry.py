"""Backoff with jitter: how long to wait before trying again."""

from __future__ import annotations

import random


def backoff_s(tries: int, *, base_s: float, cap_s: float, jitter: float = 0.2) -> float:
    """Seconds before try number ``tries + 1``: ``base_s`` doubled per try up to ``cap_s``, ± ``jitter`` of itself.

    ``tries`` counts the tries made so far, from 1.
    """
    delay = min(cap_s, base_s * 2.0 ** min(max(tries - 1, 0), 60))
    return delay * random.uniform(1.0 - jitter, 1.0 + jitter)
