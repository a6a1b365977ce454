"""How many jobs a second one `hae serve` process takes in: one by one from many clients, and in batches.

No worker runs meanwhile: what is measured is the API process with PostgreSQL beside it. The clients are a process of
their own on the same machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from app.bench.children import Processes
from app.bench.cpu import postmaster
from app.bench.workload import PRINCIPAL
from app.core.access import Scope
from app.services import keys
from app.services.keys import Limits
from app.store.db import Database

START_S = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """``calls`` of ``batch`` jobs each by ``clients`` at a time; a batch of 0 is a plain submission.

    ``warm_up`` calls come before the clock starts.
    """

    calls: int
    clients: int
    batch: int = 0
    warm_up: int = 256

    @property
    def jobs(self) -> int:
        return self.calls * max(1, self.batch)


@dataclass(slots=True)
class Submits:
    """``p50_ms`` and ``p99_ms``: of a call. ``cores``: how many each process kept busy."""

    jobs_per_s: float
    seconds: float
    p50_ms: float
    p99_ms: float
    cores: Mapping[str, float] = field(default_factory=dict)


async def key_and_postmaster(url: str) -> tuple[str, int]:
    """An API key that may submit and run as many jobs as it likes, and PostgreSQL's process id."""
    db = Database(url, pool_size=1, application="hae bench")
    try:
        _, key = await keys.create(
            db, PRINCIPAL.account, [Scope.AGENT, Scope.NODE], "bench", Limits(max_active=0, max_queued=0)
        )
        return key, await postmaster(db)
    finally:
        await db.close()


async def served(processes: Processes, profile: str | None = None) -> tuple[str, int]:
    """Start `hae serve` on a free port: its URL and its process id."""
    child = await processes.hae("hae serve", ["serve", "--port", "0"], profile)
    line = await child.says("serving on ", START_S)
    return line.split("serving on ", 1)[1].split()[0], child.process.pid


async def measure(url: str, redis_url: str, loads: Sequence[Load], *, profile: str | None = None) -> list[Submits]:
    """Send the loads, one after the other, to one server on the migrated database ``url``.

    ``profile``: the file in which the server's cProfile over all of them is to land.
    """
    key, server = await key_and_postmaster(url)
    found = []
    async with Processes(url, redis_url) as processes:
        address, pid = await served(processes, profile)
        for load in loads:
            order: dict[str, Any] = {
                "url": address,
                "key": key,
                "server": pid,
                "postmaster": server,
                "profiled": profile is not None,
                **asdict(load),
            }
            found.append(Submits(**await processes.play("app.bench.api_clients", order)))
    return found
