"""How many jobs a second real `hae worker` processes drive from submit to the end, every step committed.

Measured are the worker processes: the job graph in waves, matching, claims, offers, history, events and their feed,
timers. An agent and the nodes are played by a process of its own (app/bench/lifecycle_driver.py) that calls the service
layer, as the API's routes do after their group commits: HTTP is measured elsewhere (app/bench/api.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.bench.children import Processes

WARM_UP = 512
"""Jobs before the clock starts: workers are up then, statements prepared, caches warm."""


@dataclass(slots=True)
class Lifecycle:
    """One run: ``jobs`` completed in ``seconds``. ``cores``: how many each process kept busy.

    ``waves``: in which they were moved. ``merged``: jobs that started and ended in one wave, so waited only once.
    """

    jobs: int
    seconds: float
    cores: Mapping[str, float] = field(default_factory=dict)
    waves: int = 0
    merged: int = 0

    @property
    def jobs_per_s(self) -> float:
        return self.jobs / self.seconds


async def measure(
    url: str,
    redis_url: str,
    count: int,
    *,
    workers: int = 1,
    in_flight: int = 1024,
    profiles: Mapping[int, str] | None = None,
) -> Lifecycle:
    """Drive ``count`` jobs through the prepared database ``url``, ``in_flight`` at most at a time.

    ``profiles``: by number of the worker, from 0, the file in which its cProfile is to land.
    """
    async with Processes(url, redis_url) as processes:
        names = [f"worker {number}" for number in range(workers)]
        children = [
            await processes.hae(name, ["worker"], (profiles or {}).get(number)) for number, name in enumerate(names)
        ]
        answer = await processes.play(
            "app.bench.lifecycle_driver",
            {
                "jobs": count,
                "in_flight": in_flight,
                "warm_up": min(WARM_UP, count),
                "pids": {child.name: child.process.pid for child in children},
                "profiled": [children[number].process.pid for number in profiles or {}],
            },
        )
    return Lifecycle(count, **answer)
