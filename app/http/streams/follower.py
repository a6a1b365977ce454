"""One stream's way through the feed: from the database until it has caught up, then from the window in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from app.core.access import Principal
from app.http.streams.fanout import Fanout
from app.http.streams.records import Filter, Record, record_of
from app.services import feed
from app.store.db import Database

CHUNK_BYTES = 64 << 10
"""A stream takes no further events once it has so many bytes to send: what a slow client costs here."""
READ = 200
"""Events that one look into the database asks for at most."""

Join = Callable[[Iterable[Record]], bytes]


class Lagged(Exception):
    """The stream was cut off: it is further behind than the window reaches. ``position``: where to go on."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


class Follower:
    """Tells every event that ``principal`` may see and ``asked`` lets pass, with positions above ``position``, each
    once and in order. To be used within ``fanout.kept()``, by one task at a time."""

    def __init__(
        self, fanout: Fanout, db: Database, principal: Principal, asked: Filter, position: int, join: Join
    ) -> None:
        self._fanout = fanout
        self._db = db
        self._principal = principal
        self._asked = asked
        self._join = join
        self._live = False
        self._read = READ
        self.position = position

    async def take(self, timeout_s: float) -> bytes:
        """The next events, joined, some CHUNK_BYTES at most; ``position`` is then behind them. Empty after
        ``timeout_s`` without any, and at once when the server stops.

        Raises Lagged, and HaeError while the database that it has to read is away.
        """
        fanout = self._fanout
        clock = asyncio.get_running_loop()
        until = clock.time() + timeout_s
        while not fanout.closed:
            left = until - clock.time()
            if fanout.open and self.position >= fanout.start:
                self._live = True
                chunk = self._from_window()
                if chunk or left <= 0:
                    return chunk
                told = await fanout.moved(self._principal.sees, self._asked, left)
                self.position = max(self.position, told)
            elif self._live:
                raise Lagged(self.position)
            else:
                chunk, caught_up = await self._from_database()
                if chunk or left <= 0:
                    return chunk
                if caught_up and not fanout.open:
                    await fanout.until_open(left)
        return b""

    def _from_window(self) -> bytes:
        fanout = self._fanout
        key = (self._join, self._principal.sees, self._asked, self.position)
        known = fanout.joined.get(key)
        if known is None:
            taken, read_to = self._taken(fanout.after(self.position), max(fanout.end, self.position))
            known = fanout.joined[key] = (self._join(taken) if taken else b"", read_to)
        chunk, self.position = known
        return chunk

    async def _from_database(self) -> tuple[bytes, bool]:
        """The next events, and whether there are no more for now."""
        page = await feed.page(self._db, self._principal, self.position, self._read, sorted(self._asked.kinds or ()))
        taken, read_to = self._taken(map(record_of, page.events), page.read_to)
        # Of large events few are taken at once, and those left are read again: next time, ask for fewer.
        self._read = min(READ, 2 * (len(taken) if read_to < page.read_to else self._read))
        self.position = read_to
        return self._join(taken) if taken else b"", read_to >= page.latest

    def _taken(self, records: Iterable[Record], read_to: int) -> tuple[list[Record], int]:
        """Those of the records that are for this stream, as many as it takes at once, and the position up to which
        that is all: ``read_to`` when it takes all."""
        sees, asked = self._principal.sees, self._asked
        taken: list[Record] = []
        size = 0
        for record in records:
            if (sees is None or record.account == sees) and asked.passes(record):
                taken.append(record)
                size += len(record.sse)
                if size >= CHUNK_BYTES:
                    return taken, record.position
        return taken, read_to
