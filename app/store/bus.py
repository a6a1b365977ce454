"""Hints over Valkey: told after a commit, lost without harm. Everyone who listens also polls the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import redis.asyncio as valkey
from redis.exceptions import RedisError

from app.core.retry import backoff_s
from app.core.stopping import unless_stopped
from app.store.db import Hints

log = logging.getLogger(__name__)

STREAM = "{hae}:hints"
KEEP = 1_000
"""Entries the stream keeps: a listener that lags further behind polls the database anyway."""


class HintMessage(msgspec.Struct, omit_defaults=True):
    """One commit's hints on the wire."""

    work: bool = False
    events: bool = False
    feed: bool = False
    view: bool = False
    nodes: list[str] = []
    jobs: list[str] = []
    plans: list[str] = []


class Bus:
    """Sends hints and hears those of all processes, its own included. Works, more slowly, without Valkey.

    Commits never wait for Valkey: hints are gathered and sent behind them, those of many commits in one entry.
    """

    def __init__(self, url: str) -> None:
        self._client = valkey.Redis.from_url(
            url, socket_timeout=5.0, socket_connect_timeout=2.0, health_check_interval=15
        )
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(HintMessage)
        self._unsent = Hints()
        self._sending: asyncio.Task[None] | None = None
        self.healthy = True

    async def publish(self, hints: Hints) -> None:
        """Tell everyone soon. Returns at once; a failure is logged once and forgotten."""
        self._unsent.work |= hints.work
        self._unsent.events |= hints.events
        self._unsent.feed |= hints.feed
        self._unsent.view |= hints.view
        self._unsent.nodes |= hints.nodes
        self._unsent.jobs |= hints.jobs
        self._unsent.plans |= hints.plans
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._unsent:
                hints, self._unsent = self._unsent, Hints()
                message = HintMessage(
                    hints.work,
                    hints.events,
                    hints.feed,
                    hints.view,
                    list(hints.nodes),
                    list(hints.jobs),
                    list(hints.plans),
                )
                entry: dict[Any, Any] = {"h": self._encoder.encode(message)}
                await self._client.xadd(STREAM, entry, maxlen=KEEP, approximate=True)
                self._note(True)
        except (RedisError, OSError) as error:
            self._unsent = Hints()
            self._note(False, error)
        finally:
            self._sending = None

    async def listen(self, heard: Callable[[HintMessage], Awaitable[None]], stop: asyncio.Event) -> None:
        """Call ``heard`` for every message from now on, until ``stop``; reconnects with backoff."""
        last: Any = None
        tries = 0
        while not stop.is_set():
            try:
                if last is None:
                    last = await self._last_id()
                # Bytes in, bytes out: the client's type hints only know of decoded answers.
                answer: Any = await unless_stopped(self._client.xread({STREAM: last}, count=100, block=1_000), stop)
                tries = 0
                self._note(True)
            except (RedisError, OSError) as error:
                self._note(False, error)
                tries += 1
                # The stream may have been emptied or replaced; the database polls make up for what was missed.
                last = None
                await asyncio.sleep(backoff_s(tries, base_s=0.1, cap_s=2.0))
                continue
            for _, entries in answer or ():
                for entry_id, fields in entries:
                    last = entry_id
                    try:
                        message = self._decoder.decode(fields[b"h"])
                    except (KeyError, msgspec.DecodeError):
                        # From another version of the engine: a lost hint, no more.
                        continue
                    await heard(message)

    async def _last_id(self) -> Any:
        """Where the stream ends now. Reading from ``$`` again and again would miss what comes in between."""
        newest: Any = await self._client.xrevrange(STREAM, count=1)
        return newest[0][0] if newest else "0-0"

    async def ping(self) -> bool:
        try:
            return bool(await self._client.ping())
        except (RedisError, OSError):
            return False

    async def close(self) -> None:
        """Send what is left, for a moment at most, and disconnect."""
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=1.0)
        await self._client.aclose()

    def _note(self, healthy: bool, error: Exception | None = None) -> None:
        if healthy is not self.healthy:
            self.healthy = healthy
            if healthy:
                log.info("valkey is back")
            else:
                log.warning("valkey is away, polling the database instead: %s", type(error).__name__)
