"""Child processes of one machine: start, restart with backoff, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from app.core.retry import backoff_s

log = logging.getLogger(__name__)

STEADY_S = 30.0
"""A process that lived this long has not failed to start; its failures are forgotten."""
GIVE_UP = 6
"""Failed starts in a row after which a command is given up."""
REFUSED = 2
"""The exit code of a process that would end the same way again: wrong usage, settings or migrations."""
KILLED_CAP_S = 2.0
"""The longest wait before a process that was killed is started again."""
STOP_S = 30.0


async def supervise(
    commands: Mapping[str, Sequence[str]], env: Mapping[str, str], stop: asyncio.Event, *, stop_s: float = STOP_S
) -> int:
    """Keep each named command running until ``stop``, which is set when one will not stay up; then 1, else 0.

    A process that ends is started again with backoff. What was killed from outside did not fail to start, however
    often it happens. ``stop_s``: what a process gets to end by itself, before it is killed.
    """
    tasks = [asyncio.create_task(_keep(name, command, env, stop, stop_s)) for name, command in commands.items()]
    codes = await asyncio.gather(*tasks)
    return max(codes)


async def _keep(name: str, command: Sequence[str], env: Mapping[str, str], stop: asyncio.Event, stop_s: float) -> int:
    failures = kills = 0
    while not stop.is_set():
        began = time.monotonic()
        # A session of its own: Ctrl-C reaches us alone, and we stop the children in order.
        child = await asyncio.create_subprocess_exec(*command, env={**os.environ, **env}, start_new_session=True)
        ended = asyncio.create_task(child.wait())
        told = asyncio.create_task(stop.wait())
        await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not ended.done():
            await end(child, stop_s)
            return 0
        if stop.is_set():
            return 0
        code = child.returncode or 0
        steady = time.monotonic() - began > STEADY_S
        failures = 0 if steady or code < 0 else failures + 1
        if failures >= GIVE_UP or code == REFUSED:
            log.error("%s ended with code %s and is given up", name, code)
            stop.set()
            return 1
        kills = 0 if steady or code >= 0 else kills + 1
        wait = backoff_s(max(failures, kills, 1), base_s=0.2, cap_s=KILLED_CAP_S if code < 0 else 10.0)
        log.warning("%s ended with code %s; starting it again in %.1f s", name, code, wait)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait)
    return 0


async def end(child: asyncio.subprocess.Process, stop_s: float = STOP_S) -> None:
    """SIGTERM, and SIGKILL after ``stop_s``; returns when the process is gone."""
    if child.returncode is None:
        child.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(child.wait(), stop_s)
    except TimeoutError:
        child.kill()
        await child.wait()
