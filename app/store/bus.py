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
from app.store.db import Hints

log = logging.getLogger(__name__)

STREAM = "{hae}:hints"
KEEP = 1_000
"""Entries the stream keeps: a listener that lags further behind polls the database anyway."""


class HintMessage(msgspec.Struct, omit_defaults=True):
    """One commit's hints on the wire."""

    work: bool = False
    outbox: bool = False
    nodes: list[str] = []
    jobs: list[str] = []


class Bus:
    """Sends hints and hears those of all processes, its own included. Works, more slowly, without Valkey."""

    def __init__(self, url: str) -> None:
        self._client = valkey.Redis.from_url(
            url, socket_timeout=5.0, socket_connect_timeout=2.0, health_check_interval=15
        )
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(HintMessage)
        self.healthy = True

    async def publish(self, hints: Hints) -> None:
        """Tell everyone; a failure is logged once and forgotten."""
        message = HintMessage(hints.work, hints.outbox, list(hints.nodes), list(hints.jobs))
        try:
            await self._client.xadd(STREAM, {"h": self._encoder.encode(message)}, maxlen=KEEP, approximate=True)
            self._note(True)
        except (RedisError, OSError) as error:
            self._note(False, error)

    async def listen(self, heard: Callable[[HintMessage], Awaitable[None]], stop: asyncio.Event) -> None:
        """Call ``heard`` for every message from now on, until ``stop``; reconnects with backoff."""
        last: bytes | str = "$"
        tries = 0
        while not stop.is_set():
            try:
                # Bytes in, bytes out: the client's type hints only know of decoded answers.
                answer: Any = await self._client.xread({STREAM: last}, count=100, block=1_000)
                tries = 0
                self._note(True)
            except (RedisError, OSError) as error:
                self._note(False, error)
                tries += 1
                # What was said meanwhile is gone; the database polls make up for it.
                last = "$"
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

    async def ping(self) -> bool:
        try:
            return bool(await self._client.ping())
        except (RedisError, OSError):
            return False

    async def close(self) -> None:
        await self._client.aclose()

    def _note(self, healthy: bool, error: Exception | None = None) -> None:
        if healthy is not self.healthy:
            self.healthy = healthy
            if healthy:
                log.info("valkey is back")
            else:
                log.warning("valkey is away, polling the database instead: %s", type(error).__name__)
