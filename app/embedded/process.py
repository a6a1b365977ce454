"""Starting a server so that it outlives the process that started it, and waiting for one to go."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from app.embedded.errors import EmbeddedError
from app.embedded.layout import open_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.embedded.account import Account

_POLL_S = 0.02


def environment() -> dict[str, str]:
    """The environment of the servers and their tools: none of the user's PG* variables reaches them."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def spawn(command: Sequence[str | Path], *, account: Account, cwd: Path, log: Path) -> None:
    """Starts a server in a session of its own, its output appended to `log`.

    It is nobody's child: a Ctrl-C in the terminal does not reach it, it survives the process that started it,
    and leaves that process no zombie. Raises EmbeddedError when it cannot be executed.
    """
    descriptor = open_log(log)
    try:
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=environment(),
            cwd=cwd,
            umask=0o077,
            start_new_session=True,
            check=True,
            **account.switch,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedError(f"cannot start {Path(command[0]).name} as {account.name}: {error}") from error
    finally:
        os.close(descriptor)


def run_tool(command: Sequence[str | Path], *, account: Account, cwd: Path, log: Path, stdin: str = "") -> bool:
    """Runs a tool to its end, its output appended to `log`; returns whether it succeeded."""
    descriptor = open_log(log)
    try:
        done = subprocess.run(
            command,
            input=stdin,
            text=True,
            stdout=descriptor,
            stderr=descriptor,
            env=environment(),
            cwd=cwd,
            umask=0o077,
            check=False,
            **account.switch,
        )
    except OSError as error:
        raise EmbeddedError(f"cannot run {Path(command[0]).name} as {account.name}: {error}") from error
    finally:
        os.close(descriptor)
    return done.returncode == 0


def wait_until(condition: Callable[[], bool], *, timeout_s: float) -> bool:
    """Polls `condition` until it holds; returns False after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def working_in(directory: Path, name: str) -> list[psutil.Process]:
    """The living processes called `name` whose working directory is `directory`.

    This names a server exactly, where a recorded process id may belong to somebody else by now.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == name and process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(directory):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def stop(pid: int, *signals: signal.Signals, wait_s: float) -> bool:
    """Sends the signals in turn, waiting `wait_s` seconds after each; returns whether the process is gone."""
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return True
    for number in signals:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return True
        if wait_until(lambda: not _alive(process), timeout_s=wait_s):
            return True
    return False


def _alive(process: psutil.Process) -> bool:
    # A zombie has ended; whoever is process 1 in a container may never collect it.
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
