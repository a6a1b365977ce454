"""The demo's child processes: started in sessions of their own, listened to, killed or stopped, never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Sequence
from types import TracebackType

from app.settings.leaves import ENVIRONMENT, NOT_SETTINGS

STOP_S = 8.0
_LINES_KEPT = 30


class DemoError(Exception):
    """The demo could not be played; the message says which part failed and how."""


class Child:
    """One running process. What it prints is kept, the last lines only."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.expected_to_end = False
        self.lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._said = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def tell(self, line: bytes) -> None:
        """Write a line to its standard input, which stays open."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        await self.process.stdin.drain()

    async def says(self, text: str, timeout_s: float) -> str:
        """The first line it prints that contains ``text``. Raises DemoError when it ends or says nothing in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    found = next((line for line in self.lines if text in line), None)
                    if found is not None:
                        return found
                    if self._listening.done():
                        raise self.failure("ended too early")
                    self._said.clear()
                    await self._said.wait()
        except TimeoutError:
            raise self.failure(f"did not start within {timeout_s:g} s") from None

    def failure(self, what: str) -> DemoError:
        """An error with the last lines it printed."""
        tail = "".join(f"\n  {line}" for line in list(self.lines)[-12:])
        return DemoError(f"{self.name} {what}{tail}")

    async def kill(self) -> None:
        """SIGKILL: what a crash or a power cut is to the others."""
        self.expected_to_end = True
        if self.running:
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after STOP_S; returns when it is gone."""
        self.expected_to_end = True
        if self.running:
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), STOP_S)
        except TimeoutError:
            await self.kill()
        await asyncio.wait({self._listening}, timeout=1.0)
        self._listening.cancel()

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        try:
            while line := await self.process.stdout.readline():
                self.lines.append(line.decode("utf-8", "replace").rstrip())
                self._said.set()
        except ValueError:
            self.lines.append("(a line too long to keep)")
        finally:
            self._said.set()


class Children:
    """All child processes of a demo; an async context manager whose end is theirs."""

    def __init__(self) -> None:
        self.env = _clean_environment()
        """What the next ones are started with."""
        self._all: list[Child] = []

    async def __aenter__(self) -> Children:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self, kill_first: Sequence[Child] = ()) -> None:
        """Stop those that run; ``kill_first`` are not asked."""
        # Shielded: a second Ctrl-C must not leave half of them behind.
        await asyncio.shield(self._stop(kill_first))

    async def _stop(self, kill_first: Sequence[Child]) -> None:
        await asyncio.gather(*(child.kill() for child in kill_first))
        await asyncio.gather(*(child.stop() for child in self._all))

    async def start(self, name: str, arguments: Sequence[str]) -> Child:
        """Start ``python -m arguments``; a session of its own keeps the terminal's Ctrl-C away from it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self.env,
            start_new_session=True,
        )
        child = Child(name, process)
        self._all.append(child)
        return child

    def check(self) -> None:
        """Raises DemoError when a process ended that nobody told to."""
        for child in self._all:
            if not child.running and not child.expected_to_end:
                raise child.failure(f"ended with code {child.process.returncode}")


def _clean_environment() -> dict[str, str]:
    """This process's environment without anyone's settings: the demo touches no database but its own."""
    ours = {*ENVIRONMENT, *(f"{name}_FILE" for name in ENVIRONMENT), *NOT_SETTINGS}
    return {name: value for name, value in os.environ.items() if name not in ours} | {"PYTHONUNBUFFERED": "1"}
