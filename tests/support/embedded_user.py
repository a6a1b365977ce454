"""A process of its own that uses embedded servers, for the tests that share them or kill their user.

Started as a program with a data directory and perhaps a uid to become. It prints one JSON line when the
servers answer (or why they do not), then waits for its input to end, closes and exits.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Imported before the uid changes: the new one may be unable to read this project.
import asyncpg
import redis

from app import embedded
from app.embedded import wheels

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


def identity(servers: embedded.EmbeddedServers) -> dict[str, Any]:
    """What tells one run of the servers from another; asking also proves that they answer."""

    async def started_at() -> str:
        connection = await asyncpg.connect(servers.database_url)
        try:
            return str(await connection.fetchval("SELECT pg_postmaster_start_time()"))
        finally:
            await connection.close()

    with redis.Redis.from_url(servers.redis_url) as client:
        valkey = client.info("server")
    return {
        "postgres": asyncio.run(started_at()),
        "valkey": valkey["run_id"],
        "valkey_pid": valkey["process_id"],
    }


@dataclass
class Child:
    """A running user process: its pid, its first line of output, and the pipe that keeps it alive."""

    process: subprocess.Popen[str]
    said: dict[str, Any]

    def kill(self) -> None:
        """SIGKILLs it, so that it cleans nothing up."""
        self.process.kill()
        self.process.wait()

    def leave(self) -> int:
        """Lets it close and exit; returns its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait()


def launch(data_dir: Path, uid: int | None = None) -> subprocess.Popen[str]:
    """Starts a user process; several may be launched before the first is asked."""
    command = [sys.executable, "-m", "tests.support.embedded_user", str(data_dir)]
    if uid is not None:
        command.append(str(uid))
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def child(data_dir: Path, uid: int | None = None) -> Iterator[Child]:
    """A user process whose servers answer, killed at the end if it still runs."""
    with launch(data_dir, uid) as process:
        try:
            assert process.stdout is not None
            yield Child(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()


def main() -> None:
    """Uses the servers of the directory given until the input ends."""
    if len(sys.argv) > 2:
        uid = int(sys.argv[2])
        # Loads what reading a package's metadata imports, which the new uid may be unable to read.
        wheels.postgres_major()
        os.chdir("/")
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    try:
        servers = embedded.start(Path(sys.argv[1]))
    except embedded.EmbeddedError as error:
        print(json.dumps({"refused": str(error)}), flush=True)
        return
    with servers:
        print(json.dumps({"pid": os.getpid(), "url": servers.database_url} | identity(servers)), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
