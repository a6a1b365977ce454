"""The wave loop: runs the job graph whenever signals are due."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from app.core.errors import HaeError
from app.core.retry import backoff_s
from app.services.background import keep_running
from app.store import signals
from app.store.signals import Share
from graphs.runtime import WaveReport, WaveRunner

log = logging.getLogger(__name__)

FULL = 32
CROWD = 64
"""Signals in a wave from which on there may be enough for another beside it."""
JOSTLE = 8
"""Two waves side by side are too many where more than one in so many choices is held by the other."""
APART_S = 5.0
"""For how long a second wave is not tried again then."""
LINGER_S = 0.01


class WaveLoop:
    """Runs waves until there is nothing due, then sleeps until a wake-up, the next timer, or ``poll_s``.

    While there is much to do a second wave runs beside the leading one: one waits for PostgreSQL while the other
    decides. They share the work by what it takes: the leading one places jobs, the other takes note of answers and
    results. Not in a network so small that they mostly want the same nodes.
    """

    def __init__(self, runner: WaveRunner, poll_s: float) -> None:
        self.runner = runner
        self.poll_s = poll_s
        self.moves = 0
        self._woken = asyncio.Event()
        self._crowded = asyncio.Event()
        self._apart_until = 0.0
        self._shared = False

    def wake(self) -> None:
        """Say that signals were committed. To be called in the loop's thread."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``; the waves under way are finished first. An absent database is waited out."""
        helper = asyncio.create_task(keep_running(self._help, stop))
        try:
            await self._lead(stop)
        except BaseException:
            # Its wave is rolled back; whoever restarts the loop has another helper.
            helper.cancel()
            await asyncio.wait((helper,))
            raise
        self._crowded.set()
        await helper

    async def _lead(self, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                self._woken.clear()
                report = await self._run_wave(Share.PLACING if self._shared else Share.ALL)
                failures = 0
                if self._shared and report.signals == 0:
                    # Perhaps there is something for one wave.
                    self._shared = False
                elif report.signals == 0 or report.failed:
                    await self._sleep(stop, await self._until_next())
                else:
                    # A moment for more signals to gather: waves of a few cost almost as much as waves of many. The
                    # first signal after a rest never waits, and full waves follow each other at once.
                    await asyncio.sleep(0 if report.signals >= FULL else LINGER_S)
            except HaeError as error:
                failures += 1
                log.warning("waves are waiting: %s", error.detail)
                await self._sleep(stop, backoff_s(failures, base_s=0.1, cap_s=2.0))

    async def _help(self, stop: asyncio.Event) -> None:
        """Run waves beside the leading ones as long as there is enough for both."""
        while not stop.is_set():
            await self._crowded.wait()
            self._crowded.clear()
            # Whoever leads the loop deals with what goes wrong: it is about to meet it, too.
            with contextlib.suppress(HaeError):
                report = await self._run_wave(Share.FOLLOWING)
                if not report.signals:
                    report = await self._run_wave(Share.PLACING)
                await asyncio.sleep(0 if report.signals >= FULL else LINGER_S)

    async def _run_wave(self, share: Share) -> WaveReport:
        report = await self.runner.run_once(self._claimed, share)
        self.moves += report.moves
        if report.contended * JOSTLE > report.signals:
            self._apart_until = time.monotonic() + APART_S
            self._shared = False
        return report

    def _claimed(self, signals: int) -> None:
        if time.monotonic() < self._apart_until:
            return
        self._shared |= signals >= CROWD
        if self._shared:
            self._crowded.set()

    async def _until_next(self) -> float:
        """Seconds to the next timer, at most ``poll_s``: a lost wake-up costs no more than that."""
        async with self.runner.db.unit() as uow:
            due = await signals.next_due(uow)
        # A signal that is due but was not claimed is held by another worker: no reason to spin.
        return self.poll_s if due is None else min(self.poll_s, max(due, 0.01))

    async def _sleep(self, stop: asyncio.Event, seconds: float) -> None:
        tasks = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._woken.wait())]
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
