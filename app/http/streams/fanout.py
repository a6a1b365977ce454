"""The one reader of the feed in a server process: what it reads is in memory for all streams.

A look at the database serves every stream, however many there are. Streams are cursors on the window of the last
events, no queues: what a client costs does not grow with what it has not read.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from app.core.errors import HaeError
from app.core.retry import backoff_s
from app.http.streams.records import Filter, Record, record_of
from app.services import feed
from app.store.db import Database

log = logging.getLogger(__name__)

WINDOW: Final = 4_096
"""Events that are kept in memory: a stream that falls further behind is cut off."""
WINDOW_BYTES: Final = 32 << 20
READ: Final = 1_000
"""Events that one look takes at most."""
PACE_S: Final = 0.000_1
"""Pause after a look for every stream that it woke: where many are to be sent to, one look serves more events."""
PACE_MOST_S: Final = 0.04
BACKOFF_S: Final = 2.0

_position = attrgetter("position")


@dataclass(slots=True, eq=False)
class _Waiter:
    """A stream that has been told all that is there. ``told``: the position up to which it has, once it is woken."""

    asked: Filter
    told: asyncio.Future[int]


class Fanout:
    """The window of the feed's last events, and the streams that wait for it to move. Runs as a task of its own.

    While it is ``open``, all events with positions above ``start``, up to ``end``, are in it. ``poll_s``: seconds
    between looks that nobody asked for. ``closed``: the server stops.
    """

    def __init__(self, db: Database, poll_s: float, *, window: int = WINDOW) -> None:
        self._db = db
        self._poll_s = poll_s
        self.window = window
        self._records: list[Record] = []
        self._bytes = 0
        self._waiters: dict[str | None, set[_Waiter]] = {}
        self._woken = asyncio.Event()
        self._opened = asyncio.Event()
        self._streams = 0
        self.start = self.end = 0
        self.closed = False
        self.joined: dict[tuple[object, ...], tuple[bytes, int]] = {}
        """Chunks that several streams send, since the last look."""

    @property
    def open(self) -> bool:
        """Whether the window is there: not without streams, and not before the database has answered."""
        return self._opened.is_set()

    @property
    def waiting(self) -> int:
        """Streams that have been told all that there is for them."""
        return sum(map(len, self._waiters.values()))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the window open meanwhile: every stream is to be in here."""
        self._streams += 1
        self._woken.set()
        try:
            yield
        finally:
            self._streams -= 1

    def nudge(self) -> None:
        """Say that the feed has moved. To be called in the loop's thread."""
        self._woken.set()

    def after(self, position: int) -> Iterator[Record]:
        """The window's records above ``position``, ascending; nothing may be awaited meanwhile."""
        for index in range(bisect_right(self._records, position, key=_position), len(self._records)):
            yield self._records[index]

    async def until_open(self, timeout_s: float) -> None:
        """Wait until there is a window, the server stops, or so many seconds are over."""
        try:
            await asyncio.wait_for(self._opened.wait(), timeout_s)
        except TimeoutError:
            return

    async def moved(self, account: str | None, asked: Filter, timeout_s: float) -> int:
        """Wait until there is an event that a stream asked for which has been told all up to ``end``: of its account,
        None = of any. The position before which there was none; it is that of the end after ``timeout_s``."""
        if self.closed:
            return self.end
        loop = asyncio.get_running_loop()
        waiter = _Waiter(asked, loop.create_future())
        self._waiters.setdefault(account, set()).add(waiter)
        expiry = loop.call_later(timeout_s, self._expire, waiter)
        try:
            return await waiter.told
        finally:
            expiry.cancel()
            waiters = self._waiters.get(account)
            if waiters is not None:
                waiters.discard(waiter)
                if not waiters:
                    del self._waiters[account]

    def _expire(self, waiter: _Waiter) -> None:
        # The end of this moment: by the time the stream runs again, there may be events that it has to be told.
        if not waiter.told.done():
            waiter.told.set_result(self.end)

    async def run(self, stop: asyncio.Event) -> None:
        """Read until ``stop``, as long as there are streams. The database's absence is waited out."""
        closing = asyncio.create_task(self._close_on(stop))
        failures = 0
        try:
            while not self.closed:
                self._woken.clear()
                if not self._streams:
                    self._forget()
                    await self._woken.wait()
                    continue
                try:
                    woken, more = await self._look()
                    failures = 0
                except HaeError as error:
                    failures += 1
                    log.warning("streams are waiting longer: %s", error.detail)
                    await asyncio.sleep(backoff_s(failures, base_s=min(self._poll_s, BACKOFF_S), cap_s=BACKOFF_S))
                    continue
                await asyncio.sleep(min(woken * PACE_S, PACE_MOST_S))
                if not more:
                    await self._until_woken()
        finally:
            closing.cancel()

    async def _until_woken(self) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), self._poll_s)
        except TimeoutError:
            return

    async def _close_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.closed = True
        self._opened.set()
        self._woken.set()
        for waiters in self._waiters.values():
            for waiter in waiters:
                self._expire(waiter)

    def _forget(self) -> None:
        if not self.closed:
            self._opened.clear()
        self._records.clear()
        self._bytes = 0
        self.joined.clear()

    async def _look(self) -> tuple[int, bool]:
        """Read on; how many streams that concerned, and whether there is more to read."""
        if not self._opened.is_set():
            self.start = self.end = await feed.latest(self._db)
            self._opened.set()
            return 0, False
        # No more than the window holds: streams that were told everything are to find all that is new in it.
        page = await feed.page_of_all(self._db, self.end, min(READ, self.window))
        if page.read_to <= self.end:
            return 0, False
        before, fresh = self.end, [record_of(event) for event in page.events]
        self._records += fresh
        self._bytes += sum(len(record.sse) for record in fresh)
        self.end = page.read_to
        self._trim()
        self.joined.clear()
        return self._wake(fresh, before), page.read_to < page.latest

    def _trim(self) -> None:
        """Seldom, and much at once: taking off a list's beginning moves all the rest."""
        records = self._records
        over = max(0, len(records) - self.window) if len(records) > 2 * self.window else 0
        if self._bytes > 2 * WINDOW_BYTES:
            left = sum(len(record.sse) for record in records[over:])
            while left > WINDOW_BYTES:
                left -= len(records[over].sse)
                over += 1
        if over:
            self._bytes -= sum(len(record.sse) for record in records[:over])
            self.start = records[over - 1].position
            del records[:over]

    def _wake(self, fresh: list[Record], before: int) -> int:
        by_account: dict[str | None, list[Record]] = {}
        for record in fresh:
            if record.account is not None:
                by_account.setdefault(record.account, []).append(record)
        # Those of no account are for operators, who see all.
        by_account[None] = fresh
        woken = 0
        for account in by_account.keys() & self._waiters.keys():
            records = by_account[account]
            for waiter in self._waiters[account]:
                if not waiter.told.done() and any(map(waiter.asked.passes, records)):
                    waiter.told.set_result(before)
                    woken += 1
        return woken
