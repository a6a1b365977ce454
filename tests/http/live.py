"""A real server on a free loopback port for the length of a `with` block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar

from app.http.run import serve


@asynccontextmanager
async def serving(app: Litestar, *, stop: asyncio.Event | None = None, grace_s: float = 5.0) -> AsyncIterator[str]:
    """Yields the base URL; leaving the block stops the server and waits for its end. What it raises comes
    through.
    """
    stop = stop or asyncio.Event()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(app, "127.0.0.1", 0, stop=stop, grace_s=grace_s, on_ready=ready.set_result), name="test-server"
    )
    waited: set[asyncio.Future[Any]] = {task, ready}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield f"http://127.0.0.1:{ready.result()}"
    finally:
        stop.set()
        await task
