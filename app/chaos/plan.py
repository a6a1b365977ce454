"""Which faults strike when: drawn from the seed alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from app.chaos.faults import FAULTS

JOBS_PER_FAULT = 40
"""With 1,500 jobs every kind comes at least once."""
JOBS_PER_S = 15.0
LEAST_S = 6.0
_FAULTS_SHARE = 0.85


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault of ``kind``, ``due_s`` after the start; ``seed``: what its details are drawn from."""

    kind: str
    due_s: float
    seed: str


def span_s(jobs: int) -> float:
    """Seconds over which jobs are submitted and faults strike."""
    return max(LEAST_S, jobs / JOBS_PER_S)


def drawn(seed: int, jobs: int, kinds: Sequence[str] = ()) -> list[Planned]:
    """The faults of a run, at even distances give or take. ``kinds``: only these, each at least once; empty = all.

    Every kind comes once before any comes twice.
    """
    chance = random.Random(f"{seed} faults")
    deck = sorted(kinds or FAULTS)
    count = max(len(kinds), jobs // JOBS_PER_FAULT, 3)
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += chance.sample(deck, len(deck))
    # The last ones are to strike while there is still much to do.
    step = _FAULTS_SHARE * span_s(jobs) / (count + 1)
    return [
        Planned(kind, max(0.0, (number + 1 + chance.uniform(-0.5, 0.5)) * step), f"{seed} {number} {kind}")
        for number, kind in enumerate(drawn[:count])
    ]
