"""How long it takes from a submission until a node has its offer: `hae serve`, `hae worker`, everything over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.bench.api import key_and_postmaster, served
from app.bench.children import Processes
from app.bench.workload import PRINCIPAL
from app.store.db import Database

WARM_UP_S = 2.0


@dataclass(slots=True)
class Latency:
    """From submission to offer in milliseconds, of ``jobs``. ``answer_p50_ms``: until the submission was answered.

    ``cores``: how many each process kept busy.
    """

    answer_p50_ms: float
    p50_ms: float
    p99_ms: float
    jobs: int
    cores: Mapping[str, float] = field(default_factory=dict)


async def measure(url: str, redis_url: str, *, per_s: float, seconds: float, warm_up_s: float = WARM_UP_S) -> Latency:
    """Submit ``per_s`` jobs a second for ``seconds`` to the database ``url`` with its nodes online.

    Raises RuntimeError when some job gets no offer.
    """
    key, postmaster = await key_and_postmaster(url)
    async with Processes(url, redis_url) as processes:
        worker = await processes.hae("hae worker", ["worker"])
        address, pid = await served(processes)
        order = {
            "url": address,
            "key": key,
            "nodes": await _nodes(url),
            "per_s": per_s,
            "seconds": seconds,
            "warm_up_s": warm_up_s,
            "postmaster": postmaster,
            "pids": {"api": pid, "worker": worker.process.pid},
        }
        return Latency(**await processes.play("app.bench.latency_driver", order))


async def _nodes(url: str) -> list[str]:
    db = Database(url, pool_size=1, application="hae bench")
    try:
        async with db.unit() as uow:
            rows = await uow.sql.fetch("SELECT id FROM nodes WHERE account = $1", PRINCIPAL.account)
    finally:
        await db.close()
    return [row[0] for row in rows]
