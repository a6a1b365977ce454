"""The engine's processes of a run: started through the suite's wrapper, killed, hung, started again when they end."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.chaos.child import SkewFile

SUPERVISED = "HAE_SUPERVISED"
"""The variable that tells a process whose child it is: it ends when that has died (app/cli/environment.py)."""
RESTART_S = 0.3
"""What passes until a process that has ended is started again, as its supervisor would."""
_STOP_S = 30.0
_PORTS = (20_000, 32_000)
"""Below those that the kernel hands out to outgoing connections, so that a port is still free at a restart."""


class Process:
    """One of the engine's processes, of whichever kind, over all its lives.

    ``starts``: how many lives it has had. ``ended_badly``: code and last lines of each end that nobody brought about.
    """

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], directory: Path, bug: str) -> None:
        self.name = name
        self.kind = command[0]
        self.starts = 0
        self.ended_badly: list[str] = []
        self.skew = SkewFile(directory / f"{name}.skew", create=True)
        self.log = directory / f"{name}.log"
        wrapper = ["--skew", str(directory / f"{name}.skew"), *(["--bug", bug] if bug else [])]
        self._command = [sys.executable, "-m", "app.chaos.child", *wrapper, "--", *command]
        self._env = dict(env) | {SUPERVISED: str(os.getpid())}
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._killed = False
        self._ending = False
        self._started = asyncio.Condition()

    @property
    def pid(self) -> int:
        """Of its present life, 0 while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def start(self) -> None:
        """Begin its first life; from now on it is started again whenever it ends."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def kill(self) -> None:
        """SIGKILL, once it lives; returns when its next life has begun."""
        async with self._started:
            await self._started.wait_for(lambda: bool(self.pid) or self._ending)
        starts = self.starts
        if self.pid:
            self._killed = True
            os.kill(self.pid, signal.SIGKILL)
        async with self._started:
            await self._started.wait_for(lambda: self.starts > starts or self._ending)

    def hang(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when it is still there after the time that it has to end."""
        self._ending = True
        self.resume()
        self._signal(signal.SIGTERM)
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_S)
            except TimeoutError:
                self.ended_badly.append(f"{self.name} did not end within {_STOP_S:g} s of SIGTERM")
                self._signal(signal.SIGKILL)
                await self._process.wait()
        if self._keeper is not None:
            await self._keeper

    def _signal(self, number: signal.Signals) -> None:
        if pid := self.pid:
            os.kill(pid, number)

    async def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=self._env, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        async with self._started:
            self.starts += 1
            self._started.notify_all()

    async def _keep(self) -> None:
        while True:
            assert self._process is not None
            code = await self._process.wait()
            if self._ending:
                async with self._started:
                    self._started.notify_all()
                return
            if not self._killed:
                tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
                self.ended_badly.append(f"{self.name} ended with code {code}: {' | '.join(tail)[-400:]}")
            self._killed = False
            await asyncio.sleep(RESTART_S)
            if not self._ending:
                await self._spawn()


def free_ports(count: int) -> list[int]:
    """Ports of loopback on which nobody listens."""
    found: list[int] = []
    chance = random.Random()
    while len(found) < count:
        port = chance.randrange(*_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
