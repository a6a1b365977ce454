"""A fleet process: reference workers for many nodes of the trace, over real HTTP.

``python -m app.demo.fleet`` reads its order (FleetOrder) as one line from standard input and runs until SIGTERM, or
until standard input closes, which is how it learns that its parent was killed.
"""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec
import uvloop

from app.demo.scenario import FleetOrder
from app.node_worker import run_fleet, until_signalled
from app.settings import LogSettings
from app.telemetry import setup_logging


async def _run(order: FleetOrder, stop: asyncio.Event) -> int:
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()

    def heard() -> None:
        if not os.read(stdin, 1024):
            loop.remove_reader(stdin)
            stop.set()

    loop.add_reader(stdin, heard)
    return await run_fleet(order.configs(), stop)


def main() -> int:
    """The exit code: 0, or 1 when the server refused a node."""
    line = sys.stdin.readline()
    if not line:
        return 0
    order = msgspec.json.decode(line, type=FleetOrder)
    setup_logging(LogSettings(level="error"), "fleet")
    return uvloop.run(until_signalled(lambda stop: _run(order, stop)))


if __name__ == "__main__":
    sys.exit(main())
