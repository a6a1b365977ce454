"""Server-sent events (WHATWG HTML, section 9.2) as an answer: chunks that are encoded already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
from litestar.response import Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from app.core.errors import HaeError, Unavailable
from app.http import problems
from app.http.streams.fanout import Fanout
from app.http.streams.follower import Follower, Lagged
from app.http.streams.records import Record
from app.http.streams.seats import Seat

HEARTBEAT_S = 15.0
"""Something goes out after that much silence, so that proxies do not take the stream for dead."""
STALLED_S = 60.0
"""A client that takes nothing for so long is disconnected."""
ENDING_S = 1.0
"""A stream has so long to say goodbye when the server stops."""

OPEN = b": open\r\n\r\n"
HEARTBEAT = b": still here\r\n\r\n"
GOODBYE = b"retry: 1000\r\n: the server stops, come back\r\n\r\n"
MEDIA_TYPE = "text/event-stream"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def joined(records: Iterable[Record]) -> bytes:
    """Records as one chunk of a stream."""
    return b"".join([record.sse for record in records])


def slow_reader(position: int) -> Unavailable:
    """What is told to a client that is cut off because it reads too slowly."""
    return Unavailable(
        f"this client reads too slowly: it was told all events up to position {position}",
        code="slow_reader",
        next_action=f"Go on from there, with Last-Event-ID: {position} or after={position}; nothing is lost.",
    )


def last_message(error: HaeError, position: int) -> bytes:
    """The event that ends a stream early: ``cut_off``, with a problem object and the position to go on from."""
    data = msgspec.json.encode(problems.problem_from(error))
    return b"id: %d\r\nevent: cut_off\r\ndata: %s\r\n\r\n" % (position, data)


async def told(fanout: Fanout, follower: Follower) -> AsyncIterator[bytes]:
    """The feed as the follower reads it. Ends, cleanly, when the server stops, the database that it has to read is
    away, or the client is too slow: it comes back with Last-Event-ID."""
    with fanout.kept():
        while True:
            try:
                chunk = await follower.take(HEARTBEAT_S)
            except Lagged as error:
                yield last_message(slow_reader(error.position), error.position)
                return
            except HaeError as error:
                yield last_message(error, follower.position)
                return
            if fanout.closed:
                return
            # An id without data moves the client's Last-Event-ID on, and is no event to it.
            yield chunk or HEARTBEAT + b"id: %d\r\n\r\n" % follower.position


class EventStream(Response[AsyncIterator[bytes]]):
    """An answer that sends ``chunks`` as they come; ``seat`` is given back when it is over, however it ends.
    ``stopping``: the server's, upon which clients are told to come back."""

    def __init__(self, chunks: AsyncIterator[bytes], seat: Seat, stopping: asyncio.Event) -> None:
        super().__init__(chunks, media_type=MEDIA_TYPE, headers=_HEADERS)
        self._seat = seat
        self._stopping = stopping

    def to_asgi_response(self, *args: Any, headers: dict[str, str] | None = None, **more: Any) -> ASGIResponse:
        """See Litestar: what is sent by it."""
        return _Streaming(self.content, self._seat, self._stopping, {**(headers or {}), **self.headers})


class _Streaming(ASGIResponse):
    __slots__ = ("_chunks", "_seat", "_stopping")

    _should_set_content_length = False

    def __init__(
        self, chunks: AsyncIterator[bytes], seat: Seat, stopping: asyncio.Event, headers: dict[str, str]
    ) -> None:
        super().__init__(headers=headers, media_type=MEDIA_TYPE)
        self._chunks = chunks
        self._seat = seat
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._seat.leave()

    async def send_body(self, send: Send, receive: Receive) -> None:
        sending = asyncio.create_task(self._send(send))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set() and not sending.done():
                await asyncio.wait({sending}, timeout=ENDING_S)
            if sending.done():
                sending.result()
        finally:
            gone.cancel()
            sending.cancel()
            await asyncio.wait({sending})

    async def _send(self, send: Send) -> None:
        try:
            await _within(send, OPEN)
            async for chunk in self._chunks:
                await _within(send, chunk)
        except TimeoutError:
            return
        finally:
            await self._chunks.aclose()  # type: ignore[attr-defined]
        await _within(send, GOODBYE if self._stopping.is_set() else b"", more=False)


async def _within(send: Send, chunk: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(STALLED_S):
        await send({"type": "http.response.body", "body": chunk, "more_body": more})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
