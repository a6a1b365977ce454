"""The durable scan of one program: list its signatures from the tip down to the cursor, then work them off upwards.

The websocket only says when to look. What a scan leaves behind is complete up to its cursor: pages of signatures are
kept as they are listed, worked off from the oldest, and the cursor moves in the transaction that holds their events.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NoReturn

from app.chain.lister import Lister
from app.chain.listing import Known, Listing
from app.chain.model import Batch, EventKey, Index, Quarantined
from app.chain.reader import Entry, Reader, ReadResult
from app.chain.rpc import RpcClient, RpcError
from app.chain.scanning import Progress, ScanLimits, Stalled, TakenBack
from app.core.errors import HaeError
from app.store.chain import cursors
from app.store.chain.cursors import Cursor, Page
from app.store.db import Database, UnitOfWork

log = logging.getLogger(__name__)

PAGES_AT_ONCE = 8
READ_AHEAD = 2
"""Chunks that are fetched while one is committed."""
CAREFUL = 300
"""Transactions taken one at a time after a batch that failed."""
POISON_TRIES = 3


class Scanner:
    """Scans one program for one leader. One round at a time."""

    def __init__(
        self,
        program: str,
        *,
        rpc: RpcClient,
        reader: Reader,
        index: Index,
        db: Database,
        epoch: int,
        limits: ScanLimits,
    ) -> None:
        self.program = program
        self.progress = Progress()
        self._rpc = rpc
        self._reader = reader
        self._index = index
        self._db = db
        self._epoch = epoch
        self._limits = limits
        self._known = Known()
        self._cursor: Cursor | None = None
        self._careful = 0
        self._noted = 0
        self._failures: dict[str, int] = {}
        self._lister = Lister(program, rpc, limits, self._known)

    def knows(self, signature: str) -> bool:
        """Whether the signature was worked off lately."""
        return signature in self._known

    async def round(self, finalized_slot: int, tip_slot: int) -> int:
        """Bring the program up to the tip as it is now; how many transactions were read.

        ``tip_slot``: as known before this call, so that nothing up to there is missing after it; 0 = not known.
        Raises Stalled, RpcError, Unavailable (the nodes, the database) and LeadershipLost; what was committed before
        counts.
        """
        cursor = await self._load()
        if 0 < tip_slot < cursor.slot - self._limits.overlap_slots:
            tip_slot = await self._rpc.slot("confirmed")
            if tip_slot < cursor.slot - self._limits.overlap_slots:
                raise Stalled(f"the node is at slot {tip_slot}, far before the cursor: it lags, or has another chain")
        earlier = await self._lister.earlier_start(cursor)
        if earlier is not None:
            await self._rewind(earlier)
        read = 0
        if cursor.scanning:
            read += await self._resume(cursor, finalized_slot)
            cursor = await self._load()
        listing = Listing(self._lister.floor(cursor), cursor.slot, self._limits.overlap_slots)
        while not listing.complete and len(listing.entries) < self._limits.page:
            self.progress.listed += await self._lister.add_page(cursor, listing)
        if not listing.complete:
            await self._begin(cursor, listing)
            await self._list_rest(listing.rest())
            read += await self._work_off(finalized_slot)
        elif listing.before:
            await self._lister.check_complete(cursor, listing)
            read += await self._take(listing, finalized_slot)
        await self._tell_malformed(listing)
        await self._note(listing.newest, tip_slot)
        # From the oldest on, as they were read.
        self._remember(dict(reversed(listing.failed.items())))
        self.progress.rounds += 1
        return read

    def forget(self, signatures: Iterable[str]) -> None:
        """Take these for unknown: they were forked out, or landed again."""
        self._known.forget(signatures)

    def be_careful(self) -> None:
        """Go on one transaction at a time: one of them makes its batch fail, and must not take the others along."""
        self._careful = CAREFUL

    async def stall(self, reason: str) -> None:
        """Keep why the program's cursor does not move."""
        told = reason.replace("\0", "")[:500]
        async with self._db.unit() as uow:
            cursor = await cursors.get(uow, self.program, self._epoch)
            if cursor.stalled != told:
                cursor.stalled = told
                await cursors.save(uow, cursor, self._epoch)

    async def _rewind(self, slot: int) -> NoReturn:
        async with self._db.unit() as uow:
            await cursors.guard(uow, self._epoch)
            await cursors.rewind(uow, self.program, slot)
        raise TakenBack

    async def _tell_malformed(self, listing: Listing) -> None:
        """Quarantine entries without a readable signature, by where they are in the list; and resolve what can be read
        there now."""
        new = {hole: what for hole, what in listing.malformed.items() if hole not in self._known.holes}
        if not new and not listing.mended:
            return
        batch = Batch(slots=dict.fromkeys(listing.mended, 0))
        for hole, what in new.items():
            key = EventKey(hole, self.program, -1, -1, 0)
            batch.quarantined.append((Quarantined(key, "malformed_entry", what), listing.oldest or 0))
        async with self._db.unit() as uow:
            await cursors.guard(uow, self._epoch)
            await self._index.record(uow, batch)
        self._known.holes.update(new)
        self._known.holes.difference_update(listing.mended)

    # --- one small round: from memory ---------------------------------------------------------------------------

    async def _take(self, listing: Listing, finalized_slot: int) -> int:
        """Work off what fits one page without keeping it first: it is listed again if this process dies."""
        oldest_first = listing.entries[::-1]
        size = self._chunk()
        for start in range(0, len(oldest_first), size):
            chunk = oldest_first[start : start + size]
            await self._commit(chunk, await self._read(chunk, finalized_slot), None)
        return len(oldest_first)

    # --- a long scan: pages kept in the database ----------------------------------------------------------------

    async def _begin(self, listed: Cursor, listing: Listing) -> None:
        """Keep the first page of a long listing, and where it began: what the cursor becomes at its end."""
        signature, slot = listing.newest or listing.entries[0]
        async with self._db.unit() as uow:
            cursor = await cursors.get(uow, self.program, self._epoch)
            if _place(cursor) != _place(listed):
                raise TakenBack
            cursor.scan_slot, cursor.scan_signature = slot, signature
            cursor.scan_before, cursor.scan_listed = listing.before, False
            await self._keep(uow, listing)
            await cursors.save(uow, cursor, self._epoch)
        self._cursor = cursor

    async def _list_rest(self, listing: Listing) -> None:
        while True:
            assert self._cursor is not None
            self.progress.listed += await self._lister.add_page(self._cursor, listing)
            if listing.complete:
                await self._lister.check_complete(self._cursor, listing)
            await self._tell_malformed(listing)
            async with self._db.unit() as uow:
                cursor = await cursors.get(uow, self.program, self._epoch)
                if not cursor.scanning:
                    raise TakenBack
                cursor.scan_before, cursor.scan_listed = listing.before, listing.complete
                await self._keep(uow, listing)
                await cursors.save(uow, cursor, self._epoch)
            self._cursor = cursor
            if listing.complete:
                break
            listing = listing.rest()

    async def _keep(self, uow: UnitOfWork, listing: Listing) -> None:
        if listing.entries:
            await cursors.add_page(uow, self.program, listing.entries)
            log.info("%s: %d transactions listed, down to slot %s", self.program, self.progress.listed, listing.oldest)

    async def _resume(self, cursor: Cursor, finalized_slot: int) -> int:
        """Take up a scan that was under way when the last round, or leader, ended."""
        if not cursor.scan_listed:
            before = cursor.scan_before or ""
            status = (await self._rpc.statuses([before]))[0]
            if status is None:
                # Forked out: no node will ever list on from there.
                await self._abandon()
                return 0
            overlap = self._limits.overlap_slots
            newest = (cursor.scan_signature or "", cursor.scan_slot or 0)
            await self._list_rest(
                Listing(self._lister.floor(cursor), cursor.slot, overlap, before, status.slot, newest)
            )
        return await self._work_off(finalized_slot)

    async def _work_off(self, finalized_slot: int) -> int:
        """Read the kept pages, oldest first; chunks are fetched ahead while one is committed."""
        total = 0
        while True:
            async with self._db.unit() as uow:
                pages = await cursors.next_pages(uow, self.program, PAGES_AT_ONCE)
            if not pages:
                break
            total += await self._work_off_pages(pages, finalized_slot)
        await self._finish()
        return total

    async def _work_off_pages(self, pages: Sequence[Page], finalized_slot: int) -> int:
        size = self._chunk()
        chunks = [
            Page(page.id, page.done + start, page.entries[start : start + size])
            for page in pages
            for start in range(0, len(page.entries), size)
        ]
        ahead: deque[asyncio.Task[ReadResult]] = deque()
        waiting = iter(chunks)
        try:
            for chunk in chunks:
                ahead.extend(
                    asyncio.create_task(self._read(each.entries, finalized_slot))
                    for each in islice(waiting, READ_AHEAD + 1 - len(ahead))
                )
                await self._commit(chunk.entries, await ahead[0], chunk)
                ahead.popleft()
        finally:
            for reading in ahead:
                reading.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)
        return sum(len(page.entries) for page in pages)

    async def _finish(self) -> None:
        async with self._db.unit() as uow:
            cursor = await cursors.get(uow, self.program, self._epoch)
            if cursor.scan_slot is None:
                raise TakenBack
            if cursor.scan_slot >= cursor.slot:
                cursor.slot, cursor.signature = cursor.scan_slot, cursor.scan_signature
            _end_scan(cursor)
            await cursors.save(uow, cursor, self._epoch)
        self._cursor = cursor

    async def _abandon(self) -> None:
        """Give the scan under way up; what it has worked off counts, and the next one lists the rest anew."""
        async with self._db.unit() as uow:
            cursor = await cursors.get(uow, self.program, self._epoch)
            if cursor.scanning:
                _end_scan(cursor)
                await cursors.drop_waiting(uow, self.program)
                await cursors.save(uow, cursor, self._epoch)

    # --- both ---------------------------------------------------------------------------------------------------

    async def _read(self, entries: Sequence[Entry], finalized_slot: int) -> ReadResult:
        try:
            return await self._reader.read(entries, self.program, finalized_slot)
        except (HaeError, RpcError):
            raise
        except Exception as error:
            return ReadResult(self._poison(entries, error), 1)

    async def _commit(self, entries: Sequence[Entry], result: ReadResult, page: Page | None) -> None:
        """One transaction: events, what they do, and how far that is. Raises Stalled when not all could be read."""
        taken = list(entries[: result.count])
        if taken:
            try:
                await self._write(taken, result, page)
            except (HaeError, TakenBack):
                raise
            except Exception as error:
                result = ReadResult(self._poison(taken, error), 1, result.stalled)
                await self._write(taken, result, page)
            # Where they landed: should a fork put them elsewhere, they are not the same.
            slots = {signature: result.batch.slots.get(signature, slot) for signature, slot in taken}
            self._remember({signature: slot for signature, slot in slots.items() if signature not in result.doubtful})
            for signature, _ in taken:
                self._failures.pop(signature, None)
            self._careful = max(0, self._careful - len(taken))
            self.progress.read += len(taken)
        if result.stalled is not None:
            scan_slot = self._cursor.scan_slot if self._cursor is not None else None
            missing = entries[result.count][1]
            if page is not None and scan_slot is not None and missing >= scan_slot - self._limits.overlap_slots:
                # Perhaps forked out since it was listed, which a new listing tells.
                await self._abandon()
            raise Stalled(result.stalled)

    async def _write(self, taken: Sequence[Entry], result: ReadResult, page: Page | None) -> None:
        async with self._db.unit() as uow:
            cursor = await cursors.get(uow, self.program, self._epoch)
            if page is None:
                going = self._cursor is not None and _place(cursor) == _place(self._cursor)
            else:
                going = cursor.scanning and await cursors.worked_off(uow, Page(page.id, page.done, list(taken)))
            if not going:
                raise TakenBack
            self.progress.events += await self._index.record(uow, result.batch)
            # The listing was complete down to the floor, so everything before the newest of these is in.
            if taken[-1][1] >= cursor.slot:
                cursor.slot, cursor.signature = taken[-1][1], taken[-1][0]
            cursor.stalled = result.stalled
            await cursors.save(uow, cursor, self._epoch)
        self._cursor = cursor

    def _chunk(self) -> int:
        return 1 if self._careful > 0 else self._limits.chunk

    def _poison(self, taken: Sequence[Entry], error: Exception) -> Batch:
        """The quarantine of a transaction that failed alone again and again; raises ``error`` while it is neither."""
        signature, slot = taken[0]
        if len(taken) == 1:
            self._failures[signature] = self._failures.get(signature, 0) + 1
        if self._failures.get(signature, 0) < POISON_TRIES or len(taken) > 1:
            raise error
        log.error("%s: transaction %s cannot be applied", self.program, signature, exc_info=error)
        key = EventKey(signature, self.program, -1, -1, 0)
        poison = Quarantined(key, "effects_failed", "its events could not be applied; the log has the error")
        return Batch(slots={signature: slot}, quarantined=[(poison, slot)])

    async def _note(self, newest: Entry | None, tip_slot: int) -> None:
        """Keep how far nothing is missing: not with every notification, it is for people. But what failed, too, moves
        the cursor, or a flood of it would be listed again and again."""
        known = self._cursor
        assert known is not None
        moves = newest is not None and (known.signature is None or newest[1] > known.slot)
        if not moves and tip_slot <= self._noted and known.stalled is None:
            return
        async with self._db.unit() as uow:
            cursor = await cursors.get(uow, self.program, self._epoch)
            if _place(cursor) != _place(known):
                raise TakenBack
            if moves and newest is not None:
                cursor.signature, cursor.slot = newest
                await cursors.save(uow, cursor, self._epoch)
            await cursors.seen(uow, self.program, self._epoch, tip_slot)
        self._cursor, self._noted = cursor, max(self._noted, tip_slot)

    async def _load(self) -> Cursor:
        async with self._db.unit() as uow:
            cursor = await cursors.get(uow, self.program, self._epoch)
            again = cursor.signature is None
            if again or self._cursor is None:
                # Never read, or to be read again: then nothing counts as known.
                self._known.clear()
                self._noted = 0
            if self._cursor is None:
                self._known.holes = await cursors.holes(uow, self.program)
            if not again and self._cursor is None:
                floor = self._lister.floor(cursor)
                self._known.remember(await cursors.recent(uow, self.program, floor), floor)
        self._cursor = cursor
        return cursor

    def _remember(self, worked_off: dict[str, int]) -> None:
        """Keep in mind what the next listing may show again."""
        if self._cursor is not None:
            self._known.remember(worked_off, self._lister.floor(self._cursor))


def _place(cursor: Cursor) -> tuple[int, str | None]:
    return cursor.slot, cursor.signature


def _end_scan(cursor: Cursor) -> None:
    cursor.scan_slot = cursor.scan_signature = cursor.scan_before = None
    cursor.scan_listed = False
