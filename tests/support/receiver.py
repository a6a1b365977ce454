"""A webhook receiver on loopback that answers as told, well or badly, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One request; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """``raw``: sent instead of head and body, then the connection is closed. ``wait_for``: stay
    silent until it is set. ``endless``: repeat the body (or ``raw``) until the client goes, pausing ``drip_s`` between.
    """

    status: int = 200
    headers: Mapping[str, str] | None = None
    body: bytes = b""
    raw: bytes | None = None
    wait_for: asyncio.Event | None = None
    endless: bool = False
    drip_s: float = 0.0

    def head(self) -> bytes:
        length = {} if self.endless else {"content-length": str(len(self.body))}
        lines = [
            f"HTTP/1.1 {self.status} Told",
            *(f"{k}: {v}" for k, v in {**length, **(self.headers or {})}.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode()


class Receiver:
    """An async context manager. ``answer``: what to say, or a function of the request that says it."""

    def __init__(self, answer: Answer | Callable[[Received], Answer] | None = None) -> None:
        self.answer = answer or Answer()
        self.received: list[Received] = []
        self.connections = 0
        self.first_bytes: list[bytes] = []
        self.sent_bytes = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.arrived = asyncio.Event()
        self.ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, path: str = "/hook", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def until(self, count: int) -> None:
        """Return when ``count`` requests have come; a test that waits in vain fails."""
        async with asyncio.timeout(30):
            while len(self.received) < count:
                self.arrived.clear()
                await self.arrived.wait()

    async def idle(self) -> None:
        """Return when no answer is under way any more."""
        while self.in_flight:
            self.ended.clear()
            await self.ended.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._serve(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        except asyncio.CancelledError:
            return
        finally:
            self._tasks.discard(task)
            # Not close(): what nobody reads any more must not keep the socket open past the test.
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first = await reader.readexactly(1)
        if first == b"\x16":
            # A TLS record instead of a request: keep the ClientHello and hang up.
            length = int.from_bytes((await reader.readexactly(4))[2:4], "big")
            self.first_bytes.append(await reader.readexactly(length))
            return False
        request = await _read(first, reader)
        self.received.append(request)
        self.arrived.set()
        answer = self.answer if isinstance(self.answer, Answer) else self.answer(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._say(answer, writer)
        finally:
            self.in_flight -= 1
            self.ended.set()

    async def _say(self, answer: Answer, writer: asyncio.StreamWriter) -> bool:
        if answer.wait_for is not None:
            await answer.wait_for.wait()
        if answer.raw is None:
            writer.write(answer.head())
        piece = answer.body if answer.raw is None else answer.raw
        while True:
            writer.write(piece)
            await writer.drain()
            self.sent_bytes += len(piece)
            if not answer.endless:
                break
            await asyncio.sleep(answer.drip_s)
        if answer.raw is None:
            return True
        writer.close()
        await writer.wait_closed()
        return False


async def _read(first: bytes, reader: asyncio.StreamReader) -> Received:
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = request.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, path, headers, body)
