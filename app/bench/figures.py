"""Figures of measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` % of the values do not exceed (nearest rank); 0 of none."""
    if not ascending:
        return 0.0
    return ascending[max(0, math.ceil(len(ascending) * percent / 100) - 1)]
