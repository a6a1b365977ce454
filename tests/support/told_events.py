"""Events as transactions of the engine write them, and streams of them as clients read them."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

from app.core.events import EventKind
from app.store import events
from app.store.db import Database
from app.store.events import NewEvent

KINDS = (EventKind.JOB_SUBMITTED, EventKind.JOB_STARTED, EventKind.JOB_COMPLETED)


async def write(db: Database, accounts: Sequence[str], count: int, *, seed: int, text: str = "") -> None:
    """Write ``count`` events in transactions of one to three, of which some stay open for a moment."""
    chance = random.Random(seed)
    written = 0
    while written < count:
        async with db.unit() as uow:
            several = min(chance.randint(1, 3), count - written)
            await events.add(
                uow,
                [
                    NewEvent(
                        chance.choice(KINDS), {"n": written + n, "seed": seed, "text": text}, chance.choice(accounts)
                    )
                    for n in range(several)
                ],
            )
            written += several
            for _ in range(chance.choice((0, 0, 1, 5))):
                await asyncio.sleep(0)


@asynccontextmanager
async def narrow_stream(url: str, secret: str, last: str) -> AsyncIterator[asyncio.StreamReader]:
    """A stream of the feed over a connection that takes little until it is read; what comes after the head."""
    reader, writer = await asyncio.open_connection(sock=await _narrow(url), limit=4096)
    writer.write(
        f"GET /v1/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\nauthorization: Bearer {secret}\r\n"
        f"last-event-id: {last}\r\nconnection: close\r\n\r\n".encode()
    )
    try:
        assert (await reader.readline()).split()[1] == b"200"
        while await reader.readline() != b"\r\n":
            pass
        yield reader
    finally:
        writer.close()


@asynccontextmanager
async def narrow_socket(url: str, secret: str) -> AsyncIterator[ClientConnection]:
    """A WebSocket of the feed over such a connection."""
    headers = {"authorization": f"Bearer {secret}"}
    place = url.replace("http", "ws") + "/v1/stream"
    raw = await _narrow(url)
    async with connect(place, sock=raw, additional_headers=headers, max_queue=1, compression=None) as client:
        yield client


async def _narrow(url: str) -> socket.socket:
    place = urlsplit(url)
    raw = socket.socket()
    # Not less: over the loopback interface, segments that do not fit are dropped and sent again much later.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (place.hostname, place.port))
    return raw


async def lines_of(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    """Lines of a chunked body (RFC 9112, section 7.1), to its end."""
    left = b""
    while size := int(await reader.readline(), 16):
        left += await reader.readexactly(size)
        await reader.readexactly(2)
        *whole, left = left.split(b"\r\n")
        for line in whole:
            yield line.decode()
