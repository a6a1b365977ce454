"""A TCP relay on loopback that cuts connections after so many bytes of the answer."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

_PIECE = 65_536


class Cutting:
    """Relays to the server at ``url``; ``async with`` it. ``budgets``: bytes of answers that the next connections pass
    on before they are cut, one each; connections without one are left alone. ``connections``: made so far."""

    def __init__(self, url: str, *budgets: int) -> None:
        self.to(url)
        self.budgets = deque(budgets)
        self.connections = 0
        self.url = ""
        self._more = asyncio.Event()
        self._talks: set[asyncio.Task[None]] = set()

    def to(self, url: str) -> None:
        """Where the next connections lead."""
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 0)

    async def until(self, connections: int) -> None:
        """Waits until so many were made."""
        async with asyncio.timeout(20):
            while self.connections < connections:
                self._more.clear()
                await self._more.wait()

    async def __aenter__(self) -> Cutting:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._talks:
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._more.set()
        budget = self.budgets.popleft() if self.budgets else None
        task = asyncio.get_running_loop().create_task(self._talk(reader, writer, budget))
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        asking = asyncio.create_task(_pass_on(reader, server_writer, None))
        try:
            await _pass_on(server_reader, writer, budget)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            for each in (writer, server_writer):
                each.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None) -> None:
    """Until either end closes, or the budget is used up."""
    with suppress(ConnectionError):
        while piece := await reader.read(_PIECE):
            passed = piece if budget is None else piece[:budget]
            writer.write(passed)
            await writer.drain()
            if budget is not None:
                budget -= len(passed)
                if budget <= 0:
                    return
