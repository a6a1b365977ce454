"""`hae` processes of a test: started, spoken to, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO

import httpx

from app.settings.leaves import PREFIX

HAE = (sys.executable, "-m", "app")
NO_CHAIN = {
    "SOLANA_RPC_URL": "http://127.0.0.1:1",
    "SOLANA_WS_URL": "ws://127.0.0.1:1",
    "NODE_REGISTRY_PROGRAM_ID": "Vote111111111111111111111111111111111111111",
    "JOB_RECEIPT_PROGRAM_ID": "Stake11111111111111111111111111111111111111",
    "PAYMENT_SPLITTER_PROGRAM_ID": "Config1111111111111111111111111111111111111",
}
"""A chain whose nodes do not answer: enough for a listener to lead or stand by."""


def run_hae(
    database_url: str, redis_url: str, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end on these servers."""
    return subprocess.run(
        [*HAE, *arguments],
        env={**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass
class Hae:
    """One running command; ``child`` is the process itself."""

    child: asyncio.subprocess.Process
    errors: IO[str]

    async def url(self) -> str:
        """The next address that is announced on standard output."""
        assert self.child.stdout is not None
        line = (await asyncio.wait_for(self.child.stdout.readline(), 60)).decode()
        assert line.startswith("hae serving on http://"), line + self.said()
        return line.split()[3]

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait for the end, 30 s at most; the exit code."""
        self.child.send_signal(number)
        return await asyncio.wait_for(self.child.wait(), 30)

    def said(self) -> str:
        """Its standard error so far."""
        self.errors.seek(0)
        return self.errors.read()

    async def until_said(self, words: str) -> None:
        """Return when standard error holds ``words``."""
        async with asyncio.timeout(60):
            while words not in self.said():
                assert self.child.returncode is None, self.said()
                await asyncio.sleep(0.02)


@asynccontextmanager
async def hae(*arguments: str, env: Mapping[str, str]) -> AsyncIterator[Hae]:
    """Runs ``hae`` with these arguments; ``env`` is all it knows of settings. What still runs at the end is killed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "DATABASE_", "REDIS_"))}
    with tempfile.TemporaryFile("w+") as errors:
        child = await asyncio.create_subprocess_exec(
            *HAE, *arguments, env={**kept, **env}, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
        try:
            yield Hae(child, errors)
        finally:
            if child.returncode is None:
                child.kill()
            # Reads what is left and closes the pipe.
            await child.communicate()


async def until_ready(client: httpx.AsyncClient, ready: bool = True) -> httpx.Response:
    """Return when /readyz says so; the process answers all the time."""
    async with asyncio.timeout(60):
        while True:
            answer = await client.get("/readyz")
            if answer.is_success is ready:
                return answer
            await asyncio.sleep(0.02)
