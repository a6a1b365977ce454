"""The account the servers run under: the user's own, or an unprivileged one, as PostgreSQL refuses root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from app.embedded.errors import EmbeddedError

_SYSTEM_USER = "hae"
_FALLBACK_USER = "nobody"


class _Switch(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """A uid and gid to run servers under; `switch` is empty when they are the process's own."""

    uid: int
    gid: int

    @property
    def switch(self) -> _Switch:
        """The arguments of subprocess that start a program under this account."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    @property
    def name(self) -> str:
        """The account's name, or its number when it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    def runs(self, program: Path) -> bool:
        """Whether this account can reach and execute `program` (which must know --version)."""
        try:
            done = subprocess.run(
                [program, "--version"],
                cwd="/",
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
                **self.switch,
            )
        except OSError:
            return False
        return done.returncode == 0

    def enters(self, directory: Path) -> bool:
        """Whether this account can enter `directory`, which depends on every parent's mode."""
        probe = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)]
        try:
            done = subprocess.run(
                probe, cwd="/", capture_output=True, check=False, stdin=subprocess.DEVNULL, **self.switch
            )
        except OSError as error:
            raise EmbeddedError(
                f"running as root, but the account {self.name} cannot be taken on ({error}): "
                "run hae as an ordinary user, or set DATABASE_URL and REDIS_URL"
            ) from error
        return done.returncode == 0

    def owns(self, path: Path) -> None:
        """Gives `path` to this account; nothing to do when it is the process's own."""
        if self.uid != os.geteuid():
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def for_directory(data_dir: Path, pgdata: Path) -> Account:
    """The account for the servers of `data_dir`: the process's own, and for root the owner of what is there.

    A new directory of root's gets the system user `hae`, created if it can be, else `nobody`.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    for path in (pgdata, data_dir):
        # Not a link: its target's owner says nothing about this directory.
        if path.is_dir() and (owner := path.lstat()).st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    if pgdata.is_dir() and not pgdata.is_symlink():
        raise EmbeddedError(
            f"{pgdata} belongs to root, and PostgreSQL refuses to run as root: chown -R {_SYSTEM_USER} {pgdata}"
        )
    return _system_account()


def _system_account() -> Account:
    for name in (_SYSTEM_USER, _FALLBACK_USER):
        if (account := _look_up(name)) is not None:
            return account
        if name == _SYSTEM_USER:
            _create(name)
            if (account := _look_up(name)) is not None:
                return account
    raise EmbeddedError(
        f"PostgreSQL refuses to run as root and there is no account to run it: create one "
        f"(useradd --system {_SYSTEM_USER}), run hae as an ordinary user, or set DATABASE_URL and REDIS_URL"
    )


def _look_up(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


def _create(name: str) -> None:
    # A read-only /etc or a system without useradd is no error: the caller falls back to another account.
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    try:
        subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except OSError:
        return
