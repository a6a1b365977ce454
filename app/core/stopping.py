"""Waiting that ends when a stop is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Answer = TypeVar("Answer")


async def unless_stopped(asked: Awaitable[Answer], stop: asyncio.Event) -> Answer | None:
    """What ``asked`` comes to, and what it raises; None, with it cancelled, once ``stop`` is set."""
    answer, stopping = asyncio.ensure_future(asked), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((answer, stopping), return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        left = [task for task in (answer, stopping) if task.cancel()]
        if left:
            await asyncio.wait(left)
