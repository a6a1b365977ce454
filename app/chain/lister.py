"""Lists a program's signatures page by page, and doubts what a node says: a hole in a list is never found again."""

from __future__ import annotations

import asyncio
import logging

from app.chain.listing import Known, Listing
from app.chain.rpc import RpcClient
from app.chain.rpc.records import SignatureInfo
from app.chain.scanning import ScanLimits, Stalled
from app.chain.statuses import statuses_at
from app.store.chain.cursors import Cursor

log = logging.getLogger(__name__)

EMPTY_ASKS = 3
EMPTY_WAIT_S = 0.2
END_WAITS_S = (5.0, 30.0, 300.0)
"""After these, whether a program's history really begins where a first scan found nothing before it."""


class Lister:
    """Lists one program for its scanner, which tells it what is ``known`` already."""

    def __init__(self, program: str, rpc: RpcClient, limits: ScanLimits, known: Known) -> None:
        self._program = program
        self._rpc = rpc
        self._limits = limits
        self._known = known
        self._end: tuple[str, range] = ("", range(0))
        self._end_looks: list[float] = []

    def floor(self, cursor: Cursor) -> int:
        """The slot down to which a scan lists."""
        if cursor.signature is None:
            return cursor.slot or self._limits.start_slot
        return max(cursor.slot - self._limits.overlap_slots, 0)

    async def add_page(self, cursor: Cursor, listing: Listing) -> int:
        """List one page on; ``complete`` once the floor, or the program's first transaction, is reached. How many
        entries it had. Raises Stalled, RpcError and RpcUnavailable."""
        limit, before = self._limits.page, listing.before
        # Every further page from a node that has got as far as the first one's: to another, it would be the end.
        reached = listing.newest[1] if listing.newest is not None and before else None
        page = await self._rpc.signatures(
            self._program, before=before, until=self._known.anchor, limit=limit, min_slot=reached
        )
        if not page and not before and cursor.signature is not None:
            await self._doubt(cursor, "the node lists no transaction at all")
        if not page and before and cursor.signature is None:
            page = await self._past_the_end(listing)
        listing.add(page, limit, self._known)
        return len(page)

    async def check_complete(self, cursor: Cursor, listing: Listing) -> None:
        """A listing that shows nothing at or before the cursor has a hole, unless all of that was forked out. Raises
        Stalled."""
        if cursor.signature is not None and not listing.reached:
            await self._doubt(cursor, "the node's list ends above the cursor")

    async def earlier_start(self, cursor: Cursor | None) -> int | None:
        """Ask again, later, whether there is nothing before where history ended; the slot from which all of it is to be
        read again, if there is."""
        if not self._end_looks or asyncio.get_running_loop().time() < self._end_looks[0]:
            return None
        before, older = self._end
        # Not from a node that is too far behind to know where that is.
        page = await self._rpc.signatures(
            self._program, before=before, limit=self._limits.page, min_slot=cursor.slot if cursor else None
        )
        del self._end_looks[0]
        if not any(one.slot in older for one in page):
            return None
        log.warning("%s: there is more before %s than the node had said", self._program, before)
        self._end_looks = []
        return older.start

    async def _past_the_end(self, listing: Listing) -> list[SignatureInfo]:
        """A page that came back empty, again: it is the end of history, or a node with a hole in it, and nothing
        later would ever find what is missed here."""
        for asked in range(1, EMPTY_ASKS):
            await asyncio.sleep(EMPTY_WAIT_S * asked)
            page = await self._rpc.signatures(
                self._program, before=listing.before, limit=self._limits.page, min_slot=listing.oldest
            )
            if page:
                return page
        if (await self._rpc.statuses([listing.before]))[0] is None:
            raise Stalled("the node does not know the transaction any more that a listing had come to")
        log.debug("%s: history begins at slot %s", self._program, listing.oldest)
        now = asyncio.get_running_loop().time()
        # Of the slot itself there may be more on a node that has another order in it, and nothing new.
        older = range(listing.floor, 2**63 if listing.oldest is None else listing.oldest)
        self._end, self._end_looks = (listing.before, older), [now + wait for wait in END_WAITS_S]
        return []

    async def _doubt(self, cursor: Cursor, why: str) -> None:
        slot, (status,) = await statuses_at(self._rpc, [cursor.signature or ""])
        if status is not None and status.slot <= cursor.slot:
            raise Stalled(f"{why}, though it knows the cursor's transaction")
        if slot < cursor.slot:
            raise Stalled(f"{why}, for it is behind")
        # Forked out, then; or forgotten, with whatever was between it and what the node still has.
        first = await self._rpc.call("getFirstAvailableBlock", [])
        if type(first) is not int or first > cursor.slot:
            raise Stalled(f"{why}, for it has nothing before slot {first}")
