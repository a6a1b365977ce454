"""A part that fails is started again, and whoever waited for it is served."""

from __future__ import annotations

import asyncio
import logging

import pytest

from app.services.background import keep_running
from app.services.desk import Desk


async def test_waiters_are_answered_although_a_look_failed(caplog: pytest.LogCaptureFixture) -> None:
    looks = 0

    async def fetch(keys: list[str]) -> dict[str, int]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise RuntimeError("no such column")
        return dict.fromkeys(keys, looks)

    stop = asyncio.Event()
    desk = Desk(fetch, poll_s=0.01)
    running = asyncio.create_task(keep_running(desk.run, stop, restart_s=0.01))
    with caplog.at_level(logging.ERROR):
        assert await desk.wait("job_1", bool, 10.0) == 2
    assert [record.getMessage() for record in caplog.records] == ["Desk.run failed; starting it again"]
    stop.set()
    await asyncio.wait_for(running, 10.0)


async def test_a_stop_ends_it_and_a_cancel_is_no_failure() -> None:
    begun = asyncio.Event()

    async def part(stop: asyncio.Event) -> None:
        begun.set()
        await stop.wait()

    stop = asyncio.Event()
    first = asyncio.create_task(keep_running(part, stop))
    await begun.wait()
    stop.set()
    await asyncio.wait_for(first, 10.0)
    second = asyncio.create_task(keep_running(part, asyncio.Event()))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
