"""Waiting for rows to change: many waiters, one query at a time.

Hints wake the desk at once; a poll behind them makes up for lost hints. However many wait, each look is one query.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.core.errors import HaeError

log = logging.getLogger(__name__)

Value = TypeVar("Value")
BATCH = 2_000
"""Keys one look asks for at most."""


@dataclass(slots=True, eq=False)
class _Waiter(Generic[Value]):
    ready: Callable[[Value], bool]
    answer: asyncio.Future[Value | None]


class Desk(Generic[Value]):
    """``fetch`` maps keys to their present values, leaving out those without one. Runs as a task of its own."""

    def __init__(self, fetch: Callable[[list[str]], Awaitable[dict[str, Value]]], poll_s: float) -> None:
        self._fetch = fetch
        self._poll_s = poll_s
        self._waiters: dict[str, set[_Waiter[Value]]] = {}
        self._dirty: set[str] = set()
        self._woken = asyncio.Event()
        self._closed = False

    async def wait(self, key: str, ready: Callable[[Value], bool], timeout_s: float) -> Value | None:
        """The key's value once ``ready`` says so; None after ``timeout_s``, and at once when the desk closes."""
        if self._closed:
            return None
        waiter = _Waiter(ready, asyncio.get_running_loop().create_future())
        self._waiters.setdefault(key, set()).add(waiter)
        self.wake([key])
        try:
            return await asyncio.wait_for(waiter.answer, timeout_s)
        except TimeoutError:
            return None
        finally:
            waiting = self._waiters.get(key)
            if waiting is not None:
                waiting.discard(waiter)
                if not waiting:
                    del self._waiters[key]

    def keys(self) -> list[str]:
        """What is waited for right now."""
        return list(self._waiters)

    def wake(self, keys: Iterable[str]) -> None:
        """Look at these keys now, as far as anyone waits for them. To be called in the loop's thread."""
        waited = [key for key in keys if key in self._waiters]
        if waited:
            self._dirty.update(waited)
            self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Answer waiters until ``stop``, then send home those left."""
        closing = asyncio.create_task(self._close_on(stop))
        try:
            while not self._closed:
                try:
                    await asyncio.wait_for(self._woken.wait(), self._poll_s)
                except TimeoutError:
                    self._dirty.update(self._waiters)
                self._woken.clear()
                keys = list(self._dirty)
                self._dirty.clear()
                for start in range(0, len(keys), BATCH):
                    await self._look(keys[start : start + BATCH])
        finally:
            closing.cancel()

    async def _close_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._closed = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.answer.done():
                    waiter.answer.set_result(None)
        self._woken.set()

    async def _look(self, keys: list[str]) -> None:
        try:
            found = await self._fetch(keys)
        except HaeError as error:
            log.warning("waiters are waiting longer: %s", error.detail)
            return
        for key, value in found.items():
            for waiter in self._waiters.get(key, ()):
                if not waiter.answer.done() and waiter.ready(value):
                    waiter.answer.set_result(value)
