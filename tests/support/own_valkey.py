"""A Valkey for one test, to be stopped and started again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from app.embedded.process import wait_until
from app.embedded.wheels import valkey_server
from tests.support.servers import temporary_directory


class OwnValkey:
    """``url`` stays the same; what it held is gone after every stop."""

    def __init__(self, socket: str) -> None:
        self.url = f"unix://{socket}"
        self._socket = socket
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it answers."""
        command = [
            str(valkey_server()),
            "--port",
            "0",
            "--unixsocket",
            self._socket,
            "--save",
            "",
            "--loglevel",
            "warning",
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        assert wait_until(self._answers, timeout_s=15)

    def stop(self) -> None:
        """Kill it, if it runs; returns when it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with redis.Redis(unix_socket_path=self._socket) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@contextmanager
def own_valkey() -> Iterator[OwnValkey]:
    """One that has started, and is gone at the end."""
    with temporary_directory() as directory:
        server = OwnValkey(str(directory / "valkey.sock"))
        try:
            server.start()
            yield server
        finally:
            server.stop()
