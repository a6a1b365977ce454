"""The files of one data directory, and how they are made without touching anything that is not ours."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from app.embedded import wheels
from app.embedded.account import Account, for_directory
from app.embedded.errors import EmbeddedError, explained

# sun_path is 108 bytes on Linux and 104 on macOS, with a closing NUL.
_LONGEST_SOCKET_PATH = 100
_LONGEST_SOCKET_NAME = "/.s.PGSQL.5432.lock"
# Not the environment's temporary directory: processes that share a data directory must agree on the sockets.
_SHORT_PARENT = Path("/tmp")
_LOG_LIMIT = 8 * 1024 * 1024


@dataclass(frozen=True)
class Layout:
    """One data directory's paths and the account its servers run under."""

    data_dir: Path
    account: Account
    sockets: Path
    programs: Path
    valkey_program: Path

    @property
    def pgdata(self) -> Path:
        """PostgreSQL's data directory."""
        return self.data_dir / "pg"

    @property
    def postgres_log(self) -> Path:
        """What PostgreSQL and initdb print."""
        return self.data_dir / "postgres.log"

    @property
    def valkey_log(self) -> Path:
        """What Valkey prints."""
        return self.data_dir / "valkey.log"

    @property
    def valkey_socket(self) -> Path:
        """Valkey's unix socket."""
        return self.sockets / "valkey.sock"


def make_data_dir(data_dir: Path) -> Path:
    """Creates the data directory if missing, returns its real path; what existed keeps its mode."""
    with explained(data_dir):
        data_dir = data_dir.expanduser().resolve()
        missing = [path for path in (data_dir, *data_dir.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
            if os.geteuid() == 0:
                # The servers' account must reach its own directories inside; it can list nothing here.
                path.chmod(0o711)
        if not data_dir.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(data_dir))
    return data_dir


def prepare(data_dir: Path) -> Layout:
    """Chooses the account, the programs and the socket directory. The caller holds the start lock.

    Raises EmbeddedError when the account cannot enter the directory: its parents' modes are the user's.
    """
    account = for_directory(data_dir, data_dir / "pg")
    if not account.enters(data_dir):
        raise EmbeddedError(
            f"running as root, so PostgreSQL runs as the user {account.name}, who cannot enter {data_dir}: "
            "set HAE_DATA_DIR to a directory that others may enter (as /var/lib/hae), "
            "or allow it with chmod o+x on that directory and its parents"
        )
    programs, valkey = wheels.bin_dir(), wheels.valkey_server()
    if not (account.runs(programs / "postgres") and account.runs(valkey)):
        programs, valkey = wheels.copied_to(data_dir)
    return Layout(data_dir, account, _make_sockets_dir(data_dir, account), programs, valkey)


def make_private_dir(path: Path, account: Account) -> None:
    """Creates `path` for the account alone; what is there must be a directory of its own, not a link."""
    with explained(path):
        try:
            path.mkdir(mode=0o700)
            path.chmod(0o700)
            account.owns(path)
        except FileExistsError:
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode):
                raise
            if found.st_uid != account.uid:
                raise EmbeddedError(
                    f"{path} belongs to another user: remove it, or set HAE_DATA_DIR to another directory"
                ) from None
            if found.st_mode & 0o077:
                path.chmod(0o700)


def _make_sockets_dir(data_dir: Path, account: Account) -> Path:
    path = data_dir / "run"
    plain = re.fullmatch(r"[A-Za-z0-9/_.+-]+", str(path)) is not None
    if not plain or len(os.fsencode(path)) + len(_LONGEST_SOCKET_NAME) > _LONGEST_SOCKET_PATH:
        # The inode tells a directory from one that was removed and made again while the old servers lived on.
        identity = f"{data_dir}:{data_dir.stat().st_ino}"
        path = _SHORT_PARENT / f"hae-{account.uid}-{hashlib.sha256(os.fsencode(identity)).hexdigest()[:16]}"
    make_private_dir(path, account)
    return path


def remove_short_sockets_dir(layout: Layout) -> None:
    """Removes a socket directory that lies outside the data directory, once its servers are stopped."""
    if layout.sockets.parent != layout.data_dir:
        shutil.rmtree(layout.sockets, ignore_errors=True)


def open_log(log: Path) -> int:
    """Opens a log for appending, returns the descriptor; past 8 MiB it is set aside as `<name>.1` first."""
    with explained(log):
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_name(log.name + ".1"))
        return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
