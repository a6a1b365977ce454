"""How the demo's own processes begin and end: an order on standard input, then work until that closes, or SIGTERM.

Standard input closes when the parent is killed, so none of them outlives it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import uvloop

from app.node_worker import until_signalled
from app.settings import LogSettings
from app.telemetry import setup_logging

Order = TypeVar("Order")


def run_ordered(kind: type[Order], component: str, work: Callable[[Order, asyncio.Event], Awaitable[int]]) -> int:
    """Read an order of ``kind`` as one line and carry it out; the exit code, 0 when there is no order."""
    line = sys.stdin.readline()
    if not line:
        return 0
    order = msgspec.json.decode(line, type=kind)
    setup_logging(LogSettings(level="error"), component)

    async def carry_out(stop: asyncio.Event) -> int:
        loop = asyncio.get_running_loop()
        stdin = sys.stdin.fileno()

        def heard() -> None:
            if not os.read(stdin, 1024):
                loop.remove_reader(stdin)
                stop.set()

        loop.add_reader(stdin, heard)
        return await work(order, stop)

    return uvloop.run(until_signalled(carry_out))
