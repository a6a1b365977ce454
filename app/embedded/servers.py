"""Starting, sharing and stopping the embedded servers of a data directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from app.embedded import postgres, valkey
from app.embedded.errors import EmbeddedError
from app.embedded.layout import Layout, make_data_dir, prepare, remove_short_sockets_dir
from app.embedded.locks import UserLock, starting

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

# Longer than the slowest crash recovery another process may be waiting for.
_START_LOCK_TIMEOUT_S = 240.0
_STOP_LOCK_TIMEOUT_S = 30.0


def default_data_dir() -> Path:
    """HAE_DATA_DIR; without it /var/lib/hae for root, and `hae` in the XDG data directory for others."""
    if chosen := os.environ.get("HAE_DATA_DIR"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/hae")
    if (base := os.environ.get("XDG_DATA_HOME")) and Path(base).is_absolute():
        return Path(base) / "hae"
    return Path.home() / ".local" / "share" / "hae"


class EmbeddedServers:
    """This process's share in the servers of one data directory; made by `start`, given back by `close`."""

    def __init__(self, layout: Layout, lock: UserLock) -> None:
        """Takes over `lock`, held since before the servers were looked at."""
        self._layout = layout
        self._lock: UserLock | None = lock
        self._pid = os.getpid()
        self.database_url = postgres.url(layout)
        self.redis_url = valkey.url(layout)

    @property
    def data_dir(self) -> Path:
        """The data directory's real path."""
        return self._layout.data_dir

    def close(self) -> None:
        """Gives the share back and, when it was the last one, stops the servers. A second call does nothing.

        A forked child that inherited this object stops nothing. If another process keeps the start lock for
        30 s, the servers stay up: the next hae on the directory uses them.
        """
        if self._lock is None or os.getpid() != self._pid:
            return
        lock, self._lock = self._lock, None
        try:
            with starting(self.data_dir, timeout_s=_STOP_LOCK_TIMEOUT_S):
                if lock.is_last():
                    valkey.shut_down(self._layout)
                    postgres.shut_down(self._layout)
                    remove_short_sockets_dir(self._layout)
        except EmbeddedError:
            return
        finally:
            lock.release()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes."""
        self.close()


def start(data_dir: Path) -> EmbeddedServers:
    """Starts PostgreSQL and Valkey in `data_dir`, or joins those that run there; returns when both answer.

    Blocking: 0.1 s to join, half a second to start, about two the first time. Several processes may call it
    at once. The database survives every crash (fsync is on); Valkey starts empty, and nothing is lost by it.

    Raises EmbeddedError, with what to do about it, when the directory cannot be used (not writable, full,
    in the way, of another PostgreSQL version, out of the servers' account's reach) or no server comes up.
    """
    data_dir = make_data_dir(data_dir)
    with starting(data_dir, timeout_s=_START_LOCK_TIMEOUT_S):
        lock = UserLock(data_dir)
        try:
            layout = prepare(data_dir)
            postgres.ensure_running(layout)
            valkey.ensure_running(layout)
        except BaseException:
            lock.release()
            raise
    return EmbeddedServers(layout, lock)
