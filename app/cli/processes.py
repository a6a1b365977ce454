"""Child processes of one machine: start, restart with backoff, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence

from app.core.retry import backoff_s

log = logging.getLogger(__name__)

STEADY_S = 30.0
"""A process that lived this long has not failed to start; its failures are forgotten."""
GIVE_UP = 6
STOP_S = 30.0


async def supervise(commands: Mapping[str, Sequence[str]], env: Mapping[str, str], stop: asyncio.Event) -> int:
    """Keep each named command running until ``stop``; 1 when one of them would not stay up, else 0."""
    tasks = [asyncio.create_task(_keep(name, command, env, stop)) for name, command in commands.items()]
    codes = await asyncio.gather(*tasks)
    return max(codes)


async def _keep(name: str, command: Sequence[str], env: Mapping[str, str], stop: asyncio.Event) -> int:
    failures = 0
    while not stop.is_set():
        began = time.monotonic()
        # A session of its own: Ctrl-C reaches us alone, and we stop the children in order.
        child = await asyncio.create_subprocess_exec(*command, env={**os.environ, **env}, start_new_session=True)
        ended = asyncio.create_task(child.wait())
        told = asyncio.create_task(stop.wait())
        await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not ended.done():
            await end(child)
            return 0
        if stop.is_set():
            return 0
        failures = 0 if time.monotonic() - began > STEADY_S else failures + 1
        if failures >= GIVE_UP or child.returncode == 2:
            log.error("%s ended with code %s and is given up", name, child.returncode)
            stop.set()
            return 1
        wait = backoff_s(max(failures, 1), base_s=0.2, cap_s=10.0)
        log.warning("%s ended with code %s; starting it again in %.1f s", name, child.returncode, wait)
        await asyncio.sleep(wait)
    return 0


async def end(child: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL after STOP_S; returns when the process is gone."""
    if child.returncode is None:
        child.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(child.wait(), STOP_S)
    except TimeoutError:
        child.kill()
        await child.wait()
