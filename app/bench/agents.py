"""What agents get from one `hae serve` process: reads through tools, submissions over MCP, and events by streams.

`hae worker` runs beside it, as it gives events their places in the feed; there are no nodes. Each load comes from a
process of its own on the same machine, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from app.bench.api import key_and_postmaster, served
from app.bench.children import Processes


@dataclass(frozen=True, slots=True)
class Calls:
    """``turns`` of a call and a plain query by one, then ``calls`` by ``clients`` at a time, on ``jobs`` jobs."""

    jobs: int = 1_000
    turns: int = 1_000
    calls: int = 10_000
    clients: int = 32
    warm_up: int = 500


@dataclass(frozen=True, slots=True)
class Mcp:
    """``clients`` that submit over MCP for ``seconds`` seconds."""

    seconds: float = 10.0
    clients: int = 32
    warm_up_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Streams:
    """``clients`` streams while ``per_s`` events are written for ``seconds`` seconds."""

    clients: int = 500
    per_s: float = 200.0
    seconds: float = 10.0
    warm_up_s: float = 2.0


Load = Calls | Mcp | Streams
STREAMS_PER_KEY = 250


async def measure(url: str, redis_url: str, loads: Sequence[Load]) -> list[dict[str, Any]]:
    """Put the loads, one after the other, on one server on the migrated database ``url``; what their drivers tell.

    ``rss_mb`` of each: the server's memory at its end, or at its most where the driver tells that.
    """
    many = max(load.clients if isinstance(load, Streams) else 1 for load in loads)
    keys = []
    for _ in range(-(-many // STREAMS_PER_KEY)):
        key, server = await key_and_postmaster(url)
        keys.append(key)
    found = []
    async with Processes(url, redis_url) as processes:
        worker = await processes.hae("hae worker", ["worker"])
        address, pid = await served(processes)
        api = psutil.Process(pid)
        common = {"url": address, "postmaster": server, "pids": {"api": pid, "worker": worker.process.pid}}
        for load in loads:
            module, more = _driver(load, keys, url, redis_url, pid)
            told = await processes.play(module, {**common, **asdict(load), **more})
            found.append({"rss_mb": round(api.memory_info().rss / 1e6, 1), **told})
    return found


def _driver(load: Load, keys: list[str], url: str, redis_url: str, pid: int) -> tuple[str, dict[str, Any]]:
    """The module that plays a load, and what its order holds beside the load."""
    if isinstance(load, Streams):
        more = {"keys": keys, "database_url": url, "redis_url": redis_url, "server": pid}
        return "app.bench.agents_streams", more
    if isinstance(load, Calls):
        return "app.bench.agents_calls", {"key": keys[0], "database_url": url}
    return "app.bench.agents_mcp", {"key": keys[0]}
