"""The embedded PostgreSQL: initialised once, started with crash safety on, on a unix socket only."""

from __future__ import annotations

import shutil
import signal
import subprocess
from enum import IntEnum
from typing import TYPE_CHECKING
from urllib.parse import quote

import psutil

from app.embedded import wheels
from app.embedded.errors import EmbeddedError, explained, failed
from app.embedded.layout import make_private_dir
from app.embedded.process import environment, run_tool, spawn, stop, wait_until, working_in

if TYPE_CHECKING:
    from pathlib import Path

    from app.embedded.layout import Layout

USER = DATABASE = "hae"
# Recovery after a crash replays up to max_wal_size; a slow disk takes its time.
_READY_TIMEOUT_S = 180.0
_APPEARS_WITHIN_S = 15.0
_ORPHANS_LEAVE_WITHIN_S = 10.0
_STOP_WAIT_S = 30.0
_GIB = 1024**3


class Answer(IntEnum):
    """pg_isready's exit codes."""

    ACCEPTING = 0
    REJECTING = 1
    SILENT = 2


def url(layout: Layout) -> str:
    """The database's URL, as asyncpg and libpq take it."""
    return f"postgresql://{USER}@/{DATABASE}?host={quote(str(layout.sockets))}"


def ensure_running(layout: Layout) -> None:
    """Uses the server that runs, or initialises and starts one; returns when it accepts connections.

    The caller holds the start lock. Raises EmbeddedError with the end of the log when it does not come up.
    """
    answer = _ask(layout)
    if answer is Answer.SILENT:
        _check_version(layout)
        if not (layout.pgdata / "PG_VERSION").exists():
            _initialise(layout)
        _clear_leftovers(layout)
        spawn(
            [layout.programs / "postgres", "-D", layout.pgdata, *_settings(layout)],
            account=layout.account,
            cwd=layout.data_dir,
            log=layout.postgres_log,
        )
        _wait_for_appearance(layout)
    wait_until(lambda: _settled(layout), timeout_s=_READY_TIMEOUT_S)
    if _ask(layout) is not Answer.ACCEPTING:
        raise failed(f"PostgreSQL did not come up in {layout.data_dir}", layout.postgres_log)
    if answer is Answer.SILENT:
        _create_database(layout)


def shut_down(layout: Layout) -> None:
    """Stops the server, rolling back what is in flight; nothing committed is lost whichever way it ends."""
    for process in working_in(layout.pgdata, "postgres"):
        if process.pid == _recorded_pid(layout.pgdata / "postmaster.pid"):
            stop(process.pid, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, wait_s=_STOP_WAIT_S)


def _ask(layout: Layout) -> Answer:
    command = [*_client("pg_isready", layout), "--quiet"]
    done = subprocess.run(command, env=environment(), cwd="/", check=False, stdin=subprocess.DEVNULL)
    if done.returncode not in tuple(Answer):
        raise EmbeddedError(f"pg_isready failed with code {done.returncode}: reinstall with make clean install")
    return Answer(done.returncode)


def _settled(layout: Layout) -> bool:
    answer = _ask(layout)
    ended = answer is Answer.SILENT and not working_in(layout.pgdata, "postgres")
    return ended or answer is Answer.ACCEPTING


def _wait_for_appearance(layout: Layout) -> None:
    # Between fork and chdir the new server cannot be told from none; a refusal to start shows in the log.
    size = layout.postgres_log.stat().st_size

    def visible_or_refused() -> bool:
        return bool(working_in(layout.pgdata, "postgres")) or layout.postgres_log.stat().st_size > size

    wait_until(visible_or_refused, timeout_s=_APPEARS_WITHIN_S)


def _check_version(layout: Layout) -> None:
    major = wheels.postgres_major()
    with explained(layout.pgdata):
        if not layout.pgdata.exists():
            return
        make_private_dir(layout.pgdata, layout.account)
        stamp = layout.pgdata / "PG_VERSION"
        if not stamp.exists():
            if any(layout.pgdata.iterdir()):
                raise EmbeddedError(
                    f"{layout.pgdata} holds files that are not PostgreSQL's: move them, "
                    "or set HAE_DATA_DIR to another directory"
                )
            return
        found = stamp.read_text(encoding="utf-8").strip()
    if found != str(major):
        raise EmbeddedError(
            f"{layout.pgdata} was made by PostgreSQL {found}, and this hae carries {major}: dump it with "
            f"PostgreSQL {found} (pg_dump) and load it into a new directory, "
            "or set HAE_DATA_DIR to another directory"
        )


def _initialise(layout: Layout) -> None:
    # Renamed only when complete: an interrupted initdb leaves nothing that looks like a database.
    partial = layout.data_dir / "pg.partial"
    with explained(partial):
        shutil.rmtree(partial, ignore_errors=True)
        make_private_dir(partial, layout.account)
    # Sorting by code points from the server itself: indexes survive an upgrade of the system's C library.
    locale = [
        "--encoding",
        "UTF8",
        "--locale",
        "C",
        "--locale-provider",
        "builtin",
        "--builtin-locale",
        "C.UTF-8",
    ]
    initdb = [str(layout.programs / "initdb"), "--pgdata", str(partial), "--no-instructions"]
    command = [*initdb, "--username", USER, "--auth", "trust", *locale]
    if not run_tool(command, account=layout.account, cwd=partial, log=layout.postgres_log):
        raise failed(f"PostgreSQL could not be initialised in {layout.data_dir}", layout.postgres_log)
    with explained(layout.pgdata):
        if layout.pgdata.is_dir():
            layout.pgdata.rmdir()
        partial.rename(layout.pgdata)


def _settings(layout: Layout) -> list[str]:
    buffers = "256MB" if psutil.virtual_memory().total >= 4 * _GIB else "128MB"
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(layout.sockets),
        "unix_socket_permissions": "0700",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "shared_buffers": buffers,
        "max_connections": "200",
        "max_wal_size": "1GB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
    }
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _clear_leftovers(layout: Layout) -> None:
    """Removes what a killed server left behind.

    Its backends are waited for: two servers on the same files would destroy them. Its lock files are removed
    if their process id is another program's by now; else PostgreSQL sees for itself that they are stale.
    """
    if not wait_until(lambda: not working_in(layout.pgdata, "postgres"), timeout_s=_ORPHANS_LEAVE_WITHIN_S):
        for process in working_in(layout.pgdata, "postgres"):
            stop(process.pid, signal.SIGQUIT, signal.SIGKILL, wait_s=5.0)
    with explained(layout.pgdata):
        for lock in (layout.pgdata / "postmaster.pid", layout.sockets / ".s.PGSQL.5432.lock"):
            if (pid := _recorded_pid(lock)) is not None and psutil.pid_exists(pid):
                lock.unlink()


def _recorded_pid(lock: Path) -> int | None:
    try:
        return abs(int(lock.read_text(encoding="utf-8").split("\n", 1)[0]))
    except (FileNotFoundError, ValueError):
        return None


def _create_database(layout: Layout) -> None:
    missing = f"NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}')"
    statement = f"SELECT 'CREATE DATABASE {DATABASE}' WHERE {missing} \\gexec\n"
    command = [*_client("psql", layout), "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]
    done = subprocess.run(
        command, input=statement, text=True, capture_output=True, env=environment(), cwd="/", check=False
    )
    if done.returncode != 0:
        raise EmbeddedError(f"cannot create the database {DATABASE} in {layout.data_dir}: {done.stderr.strip()}")


def _client(program: str, layout: Layout) -> list[str]:
    # The maintenance database: hae's own may not exist yet.
    where = ["--host", str(layout.sockets), "--username", USER, "--dbname", "postgres"]
    return [str(wheels.bin_dir() / program), *where]
