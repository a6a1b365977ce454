"""A small TCP server on loopback whose connections end with it: what receivers and fault proxies are made of."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TypeVar

Self = TypeVar("Self", bound="Loopback")

_ENDINGS = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError)
"""How a connection ends whose client has gone, or talks nonsense: nobody is left to be told."""


class Loopback:
    """An async context manager: listens on a free ``port`` until its end, and serves each connection by ``serve``."""

    LIMIT = 2**16
    """Bytes that a connection reads ahead."""

    def __init__(self) -> None:
        self.port = 0
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self: Self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=self.LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one client until it has had enough; the connection is cut afterwards."""
        raise NotImplementedError

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self.serve(reader, writer)
        except _ENDINGS:
            return
        except asyncio.CancelledError:
            return
        finally:
            self._connections.discard(task)
            writer.transport.abort()
