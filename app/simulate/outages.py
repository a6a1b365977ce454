"""When nodes fall silent and come back."""

from __future__ import annotations

from typing import NamedTuple

from app.simulate.dice import PPM, Dice
from app.simulate.workload import Scene

_DAY_MS = 86_400_000
LENGTHS_S = (0, 120, 300, 600, 1_000, 1_800, 2_700, 4_500, 7_200, 14_400, 86_400)
"""Deciles of how long a node is away after the engine noticed, straight lines between them."""


NOTICED_MS = 10_000
"""The engine notices who is gone and who is back at whole multiples of this."""


class Outage(NamedTuple):
    """``node`` is silent from ``at``, taken for offline from ``noticed`` and back at ``until``, virtual ms."""

    at: int
    node: int
    noticed: int
    until: int


def _noticed(at: int) -> int:
    return -(-at // NOTICED_MS) * NOTICED_MS


def outages(scene: Scene, horizon_ms: int) -> list[Outage]:
    """All outages that last long enough to be noticed, in the order in which they begin."""
    nodes = len(scene.network)
    count = nodes * scene.behaviour.outages_ppm * horizon_ms // (_DAY_MS * PPM)
    dice = Dice(scene.seed, "outages")
    starts = dice.below(min(horizon_ms, 2**32), count).tolist()
    lengths = (dice.along(LENGTHS_S, count) * 1000).tolist()
    who = dice.below(nodes, count).tolist()
    found = []
    for at, node, length in zip(starts, who, lengths, strict=True):
        noticed = _noticed(at + scene.behaviour.offline_after_ms)
        found.append(Outage(at, node, noticed, _noticed(noticed + length + 1)))
    return sorted(found)
