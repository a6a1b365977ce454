"""News of nodes over Valkey: packed entries told after a commit, lost without harm. The database is polled behind them.

A stream of its own beside the hints (bus.py), so that neither holds up or pushes out the other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import redis.asyncio as valkey
from redis.exceptions import RedisError

from app.core.retry import backoff_s
from app.core.stopping import unless_stopped

log = logging.getLogger(__name__)

STREAM = "{hae}:nodes"
FIELD = b"d"
KEEP = 500
"""Entries the stream keeps: a listener that lags further behind has polled the database in between."""
BACKLOG = 256
"""Entries that wait for a slow Valkey; the oldest are dropped first, as what follows says more."""
BLOCK_MS = 1_000


class DeltaStream:
    """Sends entries and hears those of all processes, its own included."""

    def __init__(self, url: str) -> None:
        self._client = valkey.Redis.from_url(
            url, socket_timeout=5.0, socket_connect_timeout=2.0, health_check_interval=15
        )
        self._unsent: deque[bytes] = deque(maxlen=BACKLOG)
        self._sending: asyncio.Task[None] | None = None
        self._answered = float("-inf")

    @property
    def silence_s(self) -> float:
        """Seconds since Valkey last answered the listener; infinite while it is away."""
        return time.monotonic() - self._answered

    @property
    def alive(self) -> bool:
        """Whether Valkey answers the listener, so that what others send comes through."""
        return self.silence_s < 2 * BLOCK_MS / 1000

    def send(self, entry: bytes) -> None:
        """Tell everyone soon. Returns at once and never fails: what Valkey does not take is dropped."""
        self._unsent.append(entry)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._unsent:
                async with self._client.pipeline(transaction=False) as pipeline:
                    while self._unsent:
                        fields: dict[Any, Any] = {FIELD: self._unsent.popleft()}
                        pipeline.xadd(STREAM, fields, maxlen=KEEP, approximate=True)
                    await pipeline.execute()
        except (RedisError, OSError) as error:
            self._unsent.clear()
            log.debug("news of nodes not sent: %s", type(error).__name__)
        finally:
            self._sending = None

    async def listen(self, heard: Callable[[Sequence[bytes]], Awaitable[None]], stop: asyncio.Event) -> None:
        """Call ``heard`` with the entries from now on, those of one answer together, until ``stop``; reconnects."""
        last: Any = None
        tries = 0
        while not stop.is_set():
            try:
                if last is None:
                    last = await self._last_id()
                    self._answered = time.monotonic()
                # Bytes in, bytes out: the client's type hints only know of decoded answers.
                answer: Any = await unless_stopped(self._client.xread({STREAM: last}, count=100, block=BLOCK_MS), stop)
            except (RedisError, OSError) as error:
                self._answered = float("-inf")
                tries += 1
                if tries == 1:
                    log.info("no news of nodes from Valkey, polling the database more often: %s", type(error).__name__)
                # The stream may have been emptied or replaced; the database polls make up for what was missed.
                last = None
                await asyncio.sleep(backoff_s(tries, base_s=0.1, cap_s=2.0))
                continue
            tries = 0
            self._answered = time.monotonic()
            for _, entries in answer or ():
                last = entries[-1][0]
                await heard([fields[FIELD] for _, fields in entries if FIELD in fields])

    async def _last_id(self) -> Any:
        """Where the stream ends now. Reading from ``$`` again and again would miss what comes in between."""
        newest: Any = await self._client.xrevrange(STREAM, count=1)
        return newest[0][0] if newest else "0-0"

    async def close(self) -> None:
        """Send what is left, for a moment at most, and disconnect."""
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=1.0)
        await self._client.aclose()
