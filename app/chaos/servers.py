"""The run's own PostgreSQL and Valkey, to be cut off, hung and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from app.embedded import postgres, valkey
from app.embedded.layout import Layout, make_data_dir, prepare
from app.embedded.process import wait_until, working_in

_GONE_WITHIN_S = 30.0
_T = TypeVar("_T")


class Servers:
    """Both servers of one data directory. Every method blocks: call them in a thread.

    What was committed outlives every stop of PostgreSQL; what Valkey held is gone after its own.
    """

    def __init__(self, data_dir: Path) -> None:
        self._layout: Layout = prepare(make_data_dir(data_dir))
        self.database_url = postgres.url(self._layout)
        self.postgres_socket = self._layout.sockets / ".s.PGSQL.5432"
        self.valkey_socket = self._layout.valkey_socket
        self.logs = (self._layout.postgres_log, self._layout.valkey_log)

    def start(self) -> None:
        """Start both; returns when they answer. Raises EmbeddedError."""
        self.start_postgres()
        self.start_valkey()

    def close(self) -> None:
        """End both, whatever state they are in."""
        self.resume_postgres()
        self.resume_valkey()
        self.kill_valkey()
        self.kill_postgres()

    def start_postgres(self) -> None:
        """Start it; returns when it accepts connections."""
        postgres.ensure_running(self._layout)

    def stop_postgres(self) -> None:
        """Immediate shutdown: every connection is cut and nothing is written, as after a crash."""
        os.kill(int((self._layout.pgdata / "postmaster.pid").read_text(encoding="utf-8").split()[0]), signal.SIGQUIT)
        self._until_gone(self._postgres)

    def kill_postgres(self) -> None:
        """SIGKILL of the server and all that belongs to it."""
        _each(self._postgres(), psutil.Process.kill)
        self._until_gone(self._postgres)

    def hang_postgres(self) -> None:
        """Stop every process of it where it stands: connections stay open and nothing answers."""
        _each(self._postgres(), psutil.Process.suspend)

    def resume_postgres(self) -> None:
        """Undo ``hang_postgres``."""
        _each(self._postgres(), psutil.Process.resume)

    def start_valkey(self) -> None:
        """Start it; returns when it answers."""
        valkey.ensure_running(self._layout)

    def kill_valkey(self) -> None:
        """SIGKILL."""
        _each(self._valkey(), psutil.Process.kill)
        self._until_gone(self._valkey)

    def hang_valkey(self) -> None:
        """Stop it where it stands."""
        _each(self._valkey(), psutil.Process.suspend)

    def resume_valkey(self) -> None:
        """Undo ``hang_valkey``."""
        _each(self._valkey(), psutil.Process.resume)

    def _postgres(self) -> list[psutil.Process]:
        return working_in(self._layout.pgdata, "postgres")

    def _valkey(self) -> list[psutil.Process]:
        return working_in(self._layout.sockets, self._layout.valkey_program.name)

    @staticmethod
    def _until_gone(processes: Callable[[], list[psutil.Process]]) -> None:
        if not wait_until(lambda: not processes(), timeout_s=_GONE_WITHIN_S):
            raise TimeoutError("a server did not end")


def _each(processes: list[psutil.Process], act: Callable[[psutil.Process], _T]) -> None:
    for process in processes:
        try:
            act(process)
        except psutil.NoSuchProcess:
            continue
