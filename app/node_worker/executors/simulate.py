"""Takes a job's time without doing its work: for replays of traces and for tests.

``input.simulate`` steers it: ``duration_s`` (default 1), ``fail`` (an error message: the run fails with it at
its end), ``hang`` (true: the run never ends by itself).
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from app.node_worker.executors.base import Job, Outcome, Progress

_STEPS = 10
# Finer steps would only wake the loop: progress leaves the worker every few seconds.
_STEP_MIN_S = 0.5


class SimulateExecutor:
    """Sleeps ``duration_s / speed`` seconds; ``speed`` > 0."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed

    async def run(self, job: Job, progress: Progress) -> Outcome:
        given = job.data.get("simulate", {})
        orders: dict[str, Any] = given if isinstance(given, dict) else {}
        duration_s = orders.get("duration_s", 1.0)
        if isinstance(duration_s, bool) or not isinstance(duration_s, int | float):
            return Outcome.failure("simulate.duration_s must be a number of seconds")
        if not math.isfinite(duration_s) or duration_s < 0:
            return Outcome.failure("simulate.duration_s must be finite and not negative")
        if orders.get("hang"):
            progress(0, "hanging")
            await asyncio.Event().wait()
        await self._sleep(duration_s / self._speed, progress)
        if orders.get("fail"):
            return Outcome.failure(str(orders["fail"]))
        return Outcome(result={"simulated": True, "duration_s": duration_s}, metrics={"speed": self._speed})

    async def close(self) -> None:
        """Nothing to close."""

    async def _sleep(self, seconds: float, progress: Progress) -> None:
        step = max(seconds / _STEPS, _STEP_MIN_S)
        slept = 0.0
        while slept < seconds:
            pause = min(step, seconds - slept)
            await asyncio.sleep(pause)
            slept += pause
            progress(int(100 * slept / seconds), "simulating")
