"""A fleet process: reference workers for many nodes of the trace, over real HTTP.

``python -m app.demo.fleet`` reads its order (FleetOrder) as one line from standard input and runs until SIGTERM, or
until standard input closes, which is how it learns that its parent was killed.
"""

from __future__ import annotations

import asyncio
import sys

from app.demo.ordered import run_ordered
from app.demo.scenario import FleetOrder
from app.node_worker import run_fleet


async def _run(order: FleetOrder, stop: asyncio.Event) -> int:
    """0, or 1 when the server refused a node."""
    return await run_fleet(order.configs(), stop)


if __name__ == "__main__":
    sys.exit(run_ordered(FleetOrder, "fleet", _run))
