"""A TCP fault proxy: stands between one process and one server, and makes trouble on their connections when told to."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from app.demo.loopback import Loopback

_CHUNK = 1 << 16
_DRIP_BYTES = 64
_DRIP_S = 0.01


class Trouble(StrEnum):
    """What befalls a link's connections, those that are open and those that are opened meanwhile."""

    NONE = "none"
    CUT = "cut"
    """They are reset, and new ones are, too."""
    HANG = "hang"
    """They stay open, and nothing passes."""
    DRIP = "drip"
    """A few bytes at a time."""
    DELAY = "delay"
    """Everything arrives ``delay_s`` late."""


class Link(Loopback):
    """An async context manager: listens on ``port`` of loopback, leads to ``upstream`` (a socket's path, or a port)."""

    def __init__(self, upstream: Path | int, *, delay_s: float = 0.15) -> None:
        super().__init__()
        self._upstream = upstream
        self._delay_s = delay_s
        self._trouble = Trouble.NONE
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def trouble(self, trouble: Trouble) -> None:
        """From now on this befalls the connections; NONE heals them."""
        self._trouble = trouble
        if trouble is Trouble.HANG:
            self._passing.clear()
        else:
            self._passing.set()
        if trouble is Trouble.CUT:
            for writer in self._writers:
                writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        onward: asyncio.StreamWriter | None = None
        try:
            if self._trouble is Trouble.CUT:
                return
            if isinstance(self._upstream, Path):
                back, onward = await asyncio.open_unix_connection(str(self._upstream), limit=_CHUNK)
            else:
                back, onward = await asyncio.open_connection("127.0.0.1", self._upstream, limit=_CHUNK)
            self._writers.add(onward)
            ways = [asyncio.create_task(self._pump(*way)) for way in ((reader, onward), (back, writer))]
            try:
                # Whichever end closes ends both: neither protocol uses half-closed connections.
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            for each in (writer, onward):
                if each is not None:
                    self._writers.discard(each)
                    each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self._trouble is not Trouble.NONE:
                    await self._passing.wait()
                if self._trouble is Trouble.DELAY:
                    await asyncio.sleep(self._delay_s)
                while self._trouble is Trouble.DRIP and len(data) > _DRIP_BYTES:
                    writer.write(data[:_DRIP_BYTES])
                    data = data[_DRIP_BYTES:]
                    await asyncio.sleep(_DRIP_S)
                writer.write(data)
                await writer.drain()
