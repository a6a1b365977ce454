"""Stands between clients and a Solana node and makes trouble: what networks, providers and balancers do.

It passes HTTP requests and WebSockets on until it draws trouble for one. What the next request or connection gets
depends on the seed and on how many there were before it, on nothing else.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Any

import msgspec

_CHUNK = 2**16
_HTML = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>\r\n</html>\r\n"


class Trouble(StrEnum):
    """What can befall a request or, from WS_ on, a WebSocket."""

    DROP = "drop"
    """The connection ends instead of an answer; the node never heard of it."""
    DROP_LATE = "drop_late"
    """The same, though the node did what was asked."""
    DROP_MID = "drop_mid"
    """The connection ends in the middle of the answer."""
    SLOW = "slow"
    HANG = "hang"
    """No answer, and the connection stays open."""
    HTTP_429 = "http_429"
    """With and without Retry-After, in seconds and as a date."""
    RPC_429 = "rpc_429"
    """A JSON-RPC error 429 inside HTTP 200; for a batch one for all, or one for each."""
    RPC_32005 = "rpc_32005"
    """The same with -32005, without data."""
    SOME_429 = "some_429"
    """Of a batch some are answered and the others refused, in another order than they were asked."""
    HTML_502 = "html_502"
    WS_REFUSE = "ws_refuse"
    """HTTP 503 instead of a WebSocket."""
    WS_CUT = "ws_cut"
    """It is cut off after a while."""
    WS_HALF_OPEN = "ws_half_open"
    """After a while nothing passes any more, and nobody is told."""


REQUESTS: Mapping[Trouble, int] = {
    Trouble.DROP: 2,
    Trouble.DROP_LATE: 2,
    Trouble.DROP_MID: 2,
    Trouble.SLOW: 6,
    Trouble.HANG: 1,
    Trouble.HTTP_429: 3,
    Trouble.RPC_429: 2,
    Trouble.RPC_32005: 2,
    Trouble.SOME_429: 3,
    Trouble.HTML_502: 2,
}
"""Of 100 requests."""
SOCKETS: Mapping[Trouble, int] = {Trouble.WS_REFUSE: 1, Trouble.WS_CUT: 2, Trouble.WS_HALF_OPEN: 1}
"""Of 5 WebSockets."""


class Deck:
    """Draws troubles in the given shares, exactly so in every round of ``size``, in an order of the seed's."""

    def __init__(self, shares: Mapping[Trouble, int], size: int, seed: str) -> None:
        troubles = [trouble for trouble, count in shares.items() for _ in range(count)]
        self._cards: list[Trouble | None] = [*troubles, *[None] * (size - len(troubles))]
        self._chance = random.Random(seed)
        self._left: list[Trouble | None] = []

    def draw(self) -> tuple[Trouble | None, random.Random]:
        """What comes next, and what its details are to be drawn from."""
        if not self._left:
            self._left = list(self._cards)
            self._chance.shuffle(self._left)
        return self._left.pop(), random.Random(self._chance.getrandbits(64))


class ChaosProxy:
    """An async context manager; ``urls`` (two) and ``ws_url`` are the node's, seen through it. ``life_s``: how long a
    WebSocket lasts at most that is to be cut off or to go dead. ``struck``: how often each trouble came; ``asked``:
    requests."""

    def __init__(
        self,
        url: str,
        ws_url: str,
        *,
        seed: int,
        life_s: float = 3.0,
    ) -> None:
        self.struck: Counter[Trouble] = Counter()
        self.asked = 0
        self._http, self._ws = _place(url), _place(ws_url)
        self._life_s = life_s
        self._requests = Deck(REQUESTS, 100, f"{seed} requests")
        self._sockets = Deck(SOCKETS, 5, f"{seed} sockets")
        self._healed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> ChaosProxy:
        for serve in (self._serve_http, self._serve_http, self._serve_ws):

            async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, serve: Any = serve) -> None:
                task = asyncio.current_task()
                assert task is not None
                self._tasks.add(task)
                try:
                    with suppress(OSError, EOFError, asyncio.IncompleteReadError):
                        await serve(reader, writer)
                except asyncio.CancelledError:
                    # Only close() cancels, and the streams' own callback would take it for an error.
                    pass
                finally:
                    writer.transport.abort()
                    self._tasks.discard(task)

            self._servers.append(await asyncio.start_server(tracked, "127.0.0.1", 0, limit=2**20))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{self._port(number)}" for number in (0, 1)]

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self._port(2)}"

    def heal(self) -> None:
        """Make no more trouble. WebSockets that went dead stay dead: that nobody is told of."""
        self._healed = True

    def _port(self, number: int) -> int:
        port: int = self._servers[number].sockets[0].getsockname()[1]
        return port

    def _draw(self, deck: Deck) -> tuple[Trouble | None, random.Random]:
        trouble, details = deck.draw()
        if trouble is None or self._healed:
            return None, details
        self.struck[trouble] += 1
        return trouble, details

    # --- HTTP ---------------------------------------------------------------------------------------------------

    async def _serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        node: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while True:
                request, body = await _message(reader)
                trouble, chance = self._draw(self._requests)
                self.asked += 1
                if trouble is Trouble.DROP:
                    return
                if trouble is Trouble.HANG:
                    # Until the client gives up.
                    await reader.read()
                    return
                answer = _instead(trouble, body, chance)
                if answer is not None:
                    writer.write(answer)
                    continue
                if trouble is Trouble.SLOW:
                    await asyncio.sleep(chance.uniform(0.01, 0.4))
                node = node or await asyncio.open_connection(*self._http, limit=2**20)
                node[1].write(request + body)
                head, said = await _message(node[0])
                if trouble is Trouble.DROP_LATE:
                    return
                if trouble is Trouble.DROP_MID:
                    writer.write((head + said)[: len(head) + len(said) // 2])
                    await writer.drain()
                    # Not at once: what was written has to arrive first.
                    writer.close()
                    await writer.wait_closed()
                    return
                if trouble is Trouble.SOME_429:
                    head, said = _in_part(said, chance)
                writer.write(head + said)
                await writer.drain()
        finally:
            if node is not None:
                node[1].transport.abort()

    # --- WebSockets ---------------------------------------------------------------------------------------------

    async def _serve_ws(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trouble, chance = self._draw(self._sockets)
        if trouble is Trouble.WS_REFUSE:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()
            await writer.wait_closed()
            return
        far_reader, far_writer = await asyncio.open_connection(*self._ws)
        pipes = [asyncio.create_task(_pipe(reader, far_writer)), asyncio.create_task(_pipe(far_reader, writer))]
        try:
            life = chance.uniform(0.05, self._life_s) if trouble is not None else None
            await asyncio.wait(pipes, timeout=life, return_when=asyncio.FIRST_COMPLETED)
            if trouble is Trouble.WS_HALF_OPEN and not any(pipe.done() for pipe in pipes):
                for pipe in pipes:
                    pipe.cancel()
                await asyncio.wait(pipes)
                far_writer.transport.abort()
                # Nothing is read, so that not even the client's farewell is heard.
                await asyncio.Event().wait()
        finally:
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
            far_writer.transport.abort()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of an HTTP message that tells its length, as clients and nodes of JSON-RPC do."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    return head, await reader.readexactly(length)


def _instead(trouble: Trouble | None, body: bytes, chance: random.Random) -> bytes | None:
    """The whole answer, where the node is not asked for one."""
    if trouble is Trouble.HTTP_429:
        wait = chance.choice((None, None, "0", "0.2", "1", "Thu, 01 Jan 1970 00:00:00 GMT"))
        headers = {} if wait is None else {"Retry-After": wait}
        return _answer("429 Too Many Requests", b"Too Many Requests", "text/plain", headers)
    if trouble is Trouble.HTML_502:
        return _answer("502 Bad Gateway", _HTML, "text/html")
    if trouble not in (Trouble.RPC_429, Trouble.RPC_32005):
        return None
    error = {"code": 429, "message": "Too many requests for a specific RPC call"}
    if trouble is Trouble.RPC_32005:
        error = {"code": -32005, "message": "Limit exceeded"}
    asked = msgspec.json.decode(body)
    said: Any = _refusal(asked["id"] if isinstance(asked, dict) else None, error)
    if isinstance(asked, list) and chance.random() < 0.5:
        said = [_refusal(one["id"], error) for one in asked]
    return _answer("200 OK", msgspec.json.encode(said), "application/json")


def _in_part(body: bytes, chance: random.Random) -> tuple[bytes, bytes]:
    """An answer in which only some of a batch are answered; a single one stays as it is."""
    if body.startswith(b"["):
        said = msgspec.json.decode(body, type=list[dict[str, msgspec.Raw]])
        error = {"code": 429, "message": "Too many requests"}
        kept: list[Any] = [one if chance.random() < 0.6 else _refusal(one["id"], error) for one in said]
        chance.shuffle(kept)
        body = msgspec.json.encode(kept)
    whole = _answer("200 OK", body, "application/json")
    return whole[: len(whole) - len(body)], body


def _refusal(number: Any, error: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": error}


def _answer(status: str, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> bytes:
    lines = {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def _place(url: str) -> tuple[str, int]:
    host, _, port = url.rpartition("//")[2].rstrip("/").rpartition(":")
    return host, int(port)
