from __future__ import annotations

import asyncio
from typing import Any

from app.http.waiting import while_connected


async def never() -> Any:
    await asyncio.Event().wait()


async def test_the_answer_comes_through() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 7

    assert await while_connected(never, answer()) == 7


async def test_a_client_that_goes_away_ends_the_wait() -> None:
    messages = iter(["http.request", "http.disconnect"])
    cancelled = asyncio.Event()

    async def receive() -> Any:
        return {"type": next(messages)}

    async def wait() -> int:
        try:
            await never()
            return 7
        finally:
            cancelled.set()

    async with asyncio.timeout(10):
        assert await while_connected(receive, wait()) is None
        await cancelled.wait()
