"""The flock protocol by which processes share the servers of one data directory.

`start.lock` is held exclusively while servers are started or stopped. Every user of the servers holds
`users.lock` shared for as long as it uses them; who can take it exclusively is alone. The kernel drops both
with the process, so a SIGKILL needs no cleaning up.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.embedded.errors import EmbeddedError, explained

if TYPE_CHECKING:
    from collections.abc import Iterator

_POLL_S = 0.02


def _open(path: Path) -> int:
    with explained(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if os.geteuid() == 0:
            # Root may look into a user's directory without locking that user out of it.
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor


@contextmanager
def starting(data_dir: Path, *, timeout_s: float) -> Iterator[None]:
    """Holds the start lock. Raises EmbeddedError when another process keeps it longer than `timeout_s`."""
    path = data_dir / "start.lock"
    descriptor = _open(path)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            with explained(path):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    pass
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"another hae has been starting or stopping the servers in {data_dir} for "
                    f"{timeout_s:.0f} s: end it (fuser {path} names it) and try again"
                )
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


class UserLock:
    """This process's share in the servers of `data_dir`, held from creation to `release`."""

    def __init__(self, data_dir: Path) -> None:
        """Takes the share; the caller holds the start lock, so nobody is stopping the servers."""
        self._path = data_dir / "users.lock"
        self._descriptor = _open(self._path)
        try:
            with explained(self._path):
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        except EmbeddedError:
            os.close(self._descriptor)
            raise

    def is_last(self) -> bool:
        """Drops the share and returns whether nobody else holds one; the caller holds the start lock."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Closes the lock file."""
        os.close(self._descriptor)
