"""Whether nodes decline offers and lose runs. It depends on job and node alone: all policies meet the same luck."""

from __future__ import annotations

from app.simulate.dice import PPM, Dice, mix, threshold
from app.simulate.workload import Scene

_LOW = 0xFFFFFFFF


class Luck:
    """``draw`` a number for a job on a node, then ask what it means."""

    def __init__(self, scene: Scene) -> None:
        network = scene.network
        self._salt = int(Dice(scene.seed, "luck").words(1)[0])
        self._declines = threshold(scene.behaviour.decline_ppm)
        # The node's own record, with nineteen good runs on top: a newcomer is no worse than others.
        self._fails = [
            threshold((failed + 1) * PPM // (completed + failed + 20))
            for completed, failed in zip(network.jobs_completed.tolist(), network.jobs_failed.tolist(), strict=True)
        ]

    def draw(self, job: int, node: int) -> int:
        """64 bits."""
        return mix(self._salt ^ job << 32 ^ node)

    def declines(self, draw: int) -> bool:
        """Whether the node declines the offer."""
        return draw & _LOW < self._declines

    def run_of(self, draw: int, node: int, length_ms: int) -> tuple[int, bool]:
        """How long the run lasts and whether it is lost, then somewhere on its way."""
        if draw >> 32 < self._fails[node]:
            return max(1, length_ms * (mix(draw) >> 32) >> 32), True
        return length_ms, False
