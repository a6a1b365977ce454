"""Long-polls whose client may go away while they wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


async def while_connected(
    receive: Callable[[], Awaitable[Any]], waiting: Coroutine[Any, Any, Answer | None]
) -> Answer | None:
    """What ``waiting`` answers; None as soon as the client of ``receive`` (ASGI) is gone, and ``waiting`` is cancelled.

    An open long-poll is a sign of life: without this, that of a node that died would be one until its wait ran out.
    """
    answer = asyncio.ensure_future(waiting)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        answer.cancel()
        gone.cancel()


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
