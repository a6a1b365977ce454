"""Run one node, or many in one process on shared connections, until told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence

from app.node_worker.config import NodeConfig
from app.node_worker.connections import Connections
from app.node_worker.stats import NodeStats
from app.node_worker.worker import Worker

_INTERRUPTED = 130


async def run_node(config: NodeConfig, stop: asyncio.Event, *, stats: NodeStats | None = None) -> int:
    """Run one node until ``stop`` is set and it has drained; exit code 0, or 1 if the server refused it.

    Raises InvalidInput on an unknown executor. Cancelling drops running jobs at once.
    """
    return await run_fleet([config], stop, stats=stats)


async def run_fleet(configs: Sequence[NodeConfig], stop: asyncio.Event, *, stats: NodeStats | None = None) -> int:
    """Run one node for each of ``configs``; ``stats`` counts for all of them while they run.

    Returns 0 when every node ended well and 1 when the server refused any; the others go on until ``stop``.
    """
    counted = NodeStats() if stats is None else stats
    async with Connections() as connections:
        workers = [Worker(config, connections, counted) for config in configs]
        async with asyncio.TaskGroup() as group:
            ends = [group.create_task(worker.run(stop)) for worker in workers]
    return max((end.result() for end in ends), default=0)


async def until_signalled(main: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Await ``main(stop)``: SIGTERM or SIGINT sets ``stop``, the next one ends it at once (exit code 130)."""
    stop = asyncio.Event()
    running = asyncio.ensure_future(main(stop))

    def told() -> None:
        if stop.is_set():
            running.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, told)
    try:
        return await running
    except asyncio.CancelledError:
        if stop.is_set():
            return _INTERRUPTED
        raise
    finally:
        running.cancel()
        for number in signals:
            loop.remove_signal_handler(number)
