"""The listener: reads every program up to the tip and follows it, while this process leads.

One listener leads at a time, by an advisory lock; every write it makes carries its epoch, so that one which lost the
lead without noticing writes nothing. Websocket notifications and a timer say when to scan, scans find what there is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.chain.feed import LogsFeed
from app.chain.finality import Finality
from app.chain.model import Index
from app.chain.programs import Programs
from app.chain.reader import Reader
from app.chain.rpc import RpcClient, RpcError
from app.chain.scan import Scanner
from app.chain.scanning import ScanLimits, Stalled, TakenBack
from app.chain.submit import AT_ONCE, Submitter
from app.core.errors import HaeError, Unavailable
from app.core.retry import backoff_s
from app.store.chain import cursors
from app.store.chain.cursors import LeadershipLost
from app.store.db import Database
from app.store.leader import Leadership

log = logging.getLogger(__name__)

STANDBY_S = 1.0
WATCH_S = 2.0
DUE_S = 1.0
SUBMIT_S = 1.0
STOP_S = 1.0
"""What is under way may take that long to end by itself."""
FORGET_EVERY = 60
HINTS_KEPT = 1000
HINT_LOOKS = 12
"""A notified transaction that the node does not list yet is looked for that often, in growing intervals."""


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """``ws_url`` empty: scans by the timer alone. ``holder``: this process's name, for people.

    ``submitter``: makes what sends transactions for the leader of an epoch; None where nothing is sent.
    """

    ws_url: str
    scan_s: float = 2.0
    limits: ScanLimits = field(default_factory=ScanLimits)
    holder: str = ""
    submitter: Callable[[int], Submitter] | None = None


class Listener:
    """Leads when it can, waits when another does."""

    def __init__(
        self,
        *,
        db: Database,
        leadership: Leadership,
        rpc: RpcClient,
        programs: Programs,
        index: Index,
        options: ListenerOptions,
    ) -> None:
        self.leading = False
        self.scanners: dict[str, Scanner] = {}
        self._db = db
        self._leadership = leadership
        self._rpc = rpc
        self._programs = programs
        self._index = index
        self._options = options
        self._hints: dict[str, dict[str, int]] = {program: {} for program in programs.ids}
        self._wake = {program: asyncio.Event() for program in programs.ids}

    async def run(self, stop: asyncio.Event) -> None:
        """Lead or stand by until ``stop``."""
        try:
            while not stop.is_set():
                if await self._leadership.try_acquire():
                    try:
                        await self._lead(stop)
                    finally:
                        self.leading = False
                        await self._leadership.release()
                await _sleep(STANDBY_S, stop)
        finally:
            await self._leadership.release()

    async def _lead(self, stop: asyncio.Event) -> None:
        try:
            async with self._db.unit() as uow:
                epoch = await cursors.take_over(uow, self._options.holder)
        except Unavailable as error:
            log.warning("cannot take the lead: %s", error.detail)
            return
        self.leading = True
        log.info("leading, epoch %d", epoch)
        reader = Reader(self._rpc, self._programs, self._index, self._db)
        self.scanners = {
            program: Scanner(
                program,
                rpc=self._rpc,
                reader=reader,
                index=self._index,
                db=self._db,
                epoch=epoch,
                limits=self._options.limits,
            )
            for program in self._programs.ids
        }
        finality = Finality(self._rpc, self._index, self._db, epoch, self._reread)
        parts: list[Coroutine[Any, Any, None]] = [
            self._watch(stop),
            self._follow_finality(finality, stop),
            self._do_due(epoch, stop),
            *(self._follow(scanner, finality, stop) for scanner in self.scanners.values()),
        ]
        if self._options.ws_url:
            feed = LogsFeed(self._options.ws_url, list(self._programs.ids), self._hinted, on_state=self._connected)
            parts.append(feed.run(stop))
        if self._options.submitter is not None:
            parts.append(self._submit(self._options.submitter(epoch), stop))
        await _until_first_end(parts, stop)

    # --- hints --------------------------------------------------------------------------------------------------

    def _hinted(self, program: str, signature: str, slot: int) -> None:
        """Note a notification. A flood of them costs one set of names, cut short: the scan lists them all anyway."""
        hints = self._hints[program]
        if len(hints) < HINTS_KEPT:
            hints.setdefault(signature, 0)
        self._wake[program].set()

    def _connected(self, connected: bool) -> None:
        """Whatever happened while the stream was down is found by a scan, which a new connection asks for."""
        log.info("notifications %s", "are coming in" if connected else "have stopped; scanning by the timer")
        for wake in self._wake.values():
            wake.set()

    def _unlisted(self, scanner: Scanner) -> float | None:
        """Seconds until the next look for notified transactions that no scan has found yet; None without any."""
        hints = self._hints[scanner.program]
        left = {name: looks + 1 for name, looks in hints.items() if looks < HINT_LOOKS and not scanner.knows(name)}
        hints.clear()
        hints.update(left)
        return min(0.01 * 2.0 ** max(left.values()), 1.0) if left else None

    def _reread(self, signatures: Sequence[str]) -> None:
        if not signatures:
            return
        for scanner in self.scanners.values():
            scanner.forget(signatures)
        for wake in self._wake.values():
            wake.set()

    # --- what a leader does -------------------------------------------------------------------------------------

    async def _follow(self, scanner: Scanner, finality: Finality, stop: asyncio.Event) -> None:
        failures = 0
        wake = self._wake[scanner.program]
        while not stop.is_set():
            wake.clear()
            try:
                if not finality.finalized_slot:
                    # What is final already is stored so; a backlog would have to be promoted event by event.
                    await finality.look()
                await scanner.round(finality.finalized_slot, finality.tip_slot)
                failures = 0
                wait = self._unlisted(scanner) or self._options.scan_s
            except LeadershipLost:
                raise
            except TakenBack as error:
                log.info("%s: %s", scanner.program, error)
                continue
            except Exception as error:
                failures += 1
                await self._failed(scanner, error, failures)
                wait = backoff_s(failures, base_s=0.1, cap_s=_longest_s(error))
            await _sleep(wait, stop, wake if failures < 2 else None)

    async def _failed(self, scanner: Scanner, error: Exception, failures: int) -> None:
        """Say why a round ended early, keep it where `hae chain status` shows it, and go on."""
        expected = isinstance(error, Stalled | HaeError | RpcError)
        why = str(error) if expected else f"events cannot be applied ({type(error).__name__}); the log has the error"
        if failures == 1 or failures % 10 == 0:
            log.warning("%s does not move: %s", scanner.program, why, exc_info=None if expected else error)
        if not expected:
            scanner.be_careful()
        try:
            await scanner.stall(why)
        except LeadershipLost:
            raise
        except Exception as also:
            log.debug("nor can that be written down: %s", also)

    async def _follow_finality(self, finality: Finality, stop: asyncio.Event) -> None:
        async def step() -> float:
            await finality.look()
            await finality.check()
            return min(self._options.scan_s / 2, 1.0)

        await _keep_at(step, "finality is not followed", stop, base_s=0.2)

    async def _do_due(self, epoch: int, stop: asyncio.Event) -> None:
        rounds = 0

        async def step() -> float:
            nonlocal rounds
            async with self._db.unit() as uow:
                await cursors.guard(uow, epoch)
                await self._index.due(uow)
            if rounds % FORGET_EVERY == 0:
                await self._forget_pages(epoch)
            rounds += 1
            return DUE_S

        await _keep_at(step, "jobs wait for their specs", stop, base_s=DUE_S)

    async def _submit(self, submitter: Submitter, stop: asyncio.Event) -> None:
        async def step() -> float:
            return SUBMIT_S if await submitter.round() < AT_ONCE else 0.0

        await _keep_at(step, "nothing is sent", stop, base_s=SUBMIT_S)

    async def _forget_pages(self, epoch: int) -> None:
        overlap = self._options.limits.overlap_slots
        async with self._db.unit() as uow:
            await cursors.guard(uow, epoch)
            floors = {
                cursor.program: cursor.slot - overlap
                for cursor in [await cursors.get(uow, program, epoch) for program in sorted(self._programs.ids)]
            }
            await cursors.forget_pages(uow, floors)

    async def _watch(self, stop: asyncio.Event) -> None:
        """Raise LeadershipLost when the connection that holds the lock is gone."""
        while not stop.is_set():
            if not await self._leadership.held():
                raise LeadershipLost("the connection that holds the lead is gone")
            await _sleep(WATCH_S, stop)


async def _keep_at(step: Callable[[], Awaitable[float]], trouble: str, stop: asyncio.Event, *, base_s: float) -> None:
    """Take the step again and again until ``stop``, after the seconds that it answers; when it fails, after a backoff
    from ``base_s``, saying ``trouble`` now and then. Raises LeadershipLost, which no try again mends."""
    failures = 0
    while not stop.is_set():
        try:
            wait = await step()
            failures = 0
        except LeadershipLost:
            raise
        except Exception as error:
            failures += 1
            if failures in (1, 10) or failures % 100 == 0:
                log.warning("%s: %s", trouble, error, exc_info=None if isinstance(error, Unavailable) else error)
            wait = backoff_s(failures, base_s=base_s, cap_s=_longest_s(error))
        await _sleep(wait, stop)


def _longest_s(error: Exception) -> float:
    """Seconds between tries at most: a database is back at once when it is back, nodes of the chain want rest."""
    return 2.0 if isinstance(error, Unavailable) else 10.0


async def _sleep(seconds: float, *events: asyncio.Event | None) -> None:
    """Sleep, or until one of the events is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events if event is not None]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _until_first_end(parts: Sequence[Coroutine[Any, Any, None]], stop: asyncio.Event) -> None:
    """Run the parts until all end, one fails, or ``stop``; LeadershipLost only ends them all."""
    tasks = [asyncio.create_task(part) for part in parts]
    ended = asyncio.create_task(asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            # A long scan does not look up; whatever it is at is safe to break off.
            await asyncio.wait(tasks, timeout=STOP_S)
    finally:
        for task in (*tasks, ended, stopping):
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, LeadershipLost):
            log.warning("no longer leading: %s", result.detail)
        elif isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result
