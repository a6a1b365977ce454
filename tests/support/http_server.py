"""A small HTTP/1.1 server on loopback that can cut connections and come back on its port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """One HTTP request; ``body`` is decoded JSON, None when there was none."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """A JSON answer. ``cut``: the connection is closed instead, with nothing sent."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


CUT = Reply(0, None, cut=True)

Handler = Callable[[Request], Awaitable[Reply]]


class HttpServer:
    """HTTP/1.1 with keep-alive and Content-Length bodies. A port once taken is kept over stop and start."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and cut every connection."""
        # A connection that was accepted in this turn gets its transport in the next ones; were the server closed
        # before, asyncio would fail to attach it and leak its socket.
        for _ in range(3):
            await asyncio.sleep(0)
        if self._server is not None:
            self._server.close()
        talks = dict(self._talks)
        for task, writer in talks.items():
            task.cancel()
            # A task cancelled before its first step closes nothing.
            writer.transport.abort()
        await asyncio.gather(*talks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or not self._server.is_serving():
            # Accepted by the kernel before the port was closed, and handed over after it.
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._talk(reader, writer))
        self._talks[task] = writer
        task.add_done_callback(self._talks.pop)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    reply = await self._handler(await _read(reader))
                    if reply.cut:
                        return
                    writer.write(_encode(reply))
                    await writer.drain()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:]) if name}
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return Request(method, parts.path, query, headers, json.loads(content) if content else None)


def _encode(reply: Reply) -> bytes:
    content = json.dumps(reply.body).encode()
    kind = "application/problem+json" if reply.status >= 400 else "application/json"
    headers = {"content-type": kind, "content-length": str(len(content)), **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} Test", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + content
