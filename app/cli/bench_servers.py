"""What benchmarks run on: servers of their own, that wait for the disk, in a temporary directory."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import uvloop

from app import embedded
from app.bench.databases import check_durable
from app.embedded import EmbeddedServers
from app.settings import LogSettings
from app.telemetry import disable_tracing, setup_logging

Answer = TypeVar("Answer")


def measured(work: Callable[[EmbeddedServers, Path], Coroutine[None, None, Answer]]) -> Answer:
    """Run ``work`` on new servers; it may leave files in the directory until it ends.

    Raises RuntimeError on servers that do not wait for the disk.
    """

    async def checked(servers: EmbeddedServers, directory: Path) -> Answer:
        await check_durable(servers.database_url)
        return await work(servers, directory)

    setup_logging(LogSettings(level="warning"), "bench")
    disable_tracing()
    with tempfile.TemporaryDirectory(prefix="hae-bench-") as scratch:
        # PostgreSQL's own user has to get in where this one is root.
        Path(scratch).chmod(0o755)
        with embedded.start(Path(scratch) / "data") as servers:
            return uvloop.run(checked(servers, Path(scratch)))


def tell(line: str) -> None:
    """One line for whoever waits, out of the way of the figures."""
    print(line, file=sys.stderr, flush=True)
