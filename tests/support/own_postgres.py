"""A PostgreSQL for one test, to be killed, stopped and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from app.embedded import postgres
from app.embedded.layout import Layout, make_data_dir, prepare
from app.embedded.process import spawn, wait_until, working_in
from tests.support.servers import temporary_directory


class OwnPostgres:
    """``url`` stays the same; what was committed outlives every stop."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.url = postgres.url(layout)

    def start(self, **settings: str | int) -> None:
        """Start it, with these settings besides the usual ones; returns when it accepts connections."""
        if settings:
            given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
            layout = self._layout
            usual = postgres._settings(layout)
            command: list[str | Path] = [layout.programs / "postgres", "-D", layout.pgdata, *usual, *given]
            postgres._clear_leftovers(layout)
            spawn(command, account=layout.account, cwd=layout.data_dir, log=layout.postgres_log)
            assert wait_until(lambda: postgres._ask(layout) is postgres.Answer.ACCEPTING, timeout_s=30)
        else:
            postgres.ensure_running(self._layout)

    def stop(self) -> None:
        """Immediate shutdown: every connection is cut, nothing is written; returns when all has ended."""
        self.signal(signal.SIGQUIT)
        self._until_gone()

    def kill(self) -> None:
        """SIGKILL of the server and all that belongs to it."""
        for process in working_in(self._layout.pgdata, "postgres"):
            process.kill()
        self._until_gone()

    def signal(self, number: signal.Signals) -> None:
        """Send the server itself a signal."""
        os.kill(int((self._layout.pgdata / "postmaster.pid").read_text().split()[0]), number)

    def hang(self) -> None:
        """Stop every process of the server where it stands: connections stay open and nothing answers."""
        for process in working_in(self._layout.pgdata, "postgres"):
            process.suspend()

    def go_on(self) -> None:
        """Undo ``hang``."""
        for process in working_in(self._layout.pgdata, "postgres"):
            process.resume()

    def _until_gone(self) -> None:
        assert wait_until(lambda: not self.processes(), timeout_s=30)

    def processes(self) -> list[psutil.Process]:
        return working_in(self._layout.pgdata, "postgres")


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """One that has started, with the database of its URL empty, and is gone at the end."""
    with temporary_directory() as directory:
        server = OwnPostgres(prepare(make_data_dir(directory / "data")))
        try:
            server.start()
            yield server
        finally:
            server.go_on()
            server.kill()
