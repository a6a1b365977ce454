"""Waits that a stop ends."""

from __future__ import annotations

import asyncio

import pytest

from app.core.stopping import unless_stopped


async def test_what_comes_first_counts() -> None:
    stop = asyncio.Event()

    async def answered() -> int:
        return 7

    assert await unless_stopped(answered(), stop) == 7


async def test_a_stop_ends_what_waits_and_lets_it_clean_up() -> None:
    stop = asyncio.Event()
    cleaned = False

    async def waits() -> int:
        nonlocal cleaned
        stop.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned = True
        return 7

    assert await unless_stopped(waits(), stop) is None
    assert cleaned


async def test_what_goes_wrong_comes_through() -> None:
    async def fails() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        await unless_stopped(fails(), asyncio.Event())


async def test_whoever_is_cancelled_leaves_nothing_behind() -> None:
    ended = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(unless_stopped(waits(), asyncio.Event()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
