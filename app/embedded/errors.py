"""The one error of the embedded servers."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ELSEWHERE = "set HAE_DATA_DIR to a directory you can write to, or DATABASE_URL and REDIS_URL to servers of your own"


class EmbeddedError(Exception):
    """The embedded servers cannot be used; the message is one sentence for the user that says what to do."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns an OSError met while preparing `path` into an EmbeddedError that names it and the way out."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EmbeddedError(f"no space left for {where}: free some, or {_ELSEWHERE}") from error
        if error.errno == errno.EROFS:
            raise EmbeddedError(f"{where} is on a read-only file system: {_ELSEWHERE}") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise EmbeddedError(f"no permission for {where}: {_ELSEWHERE}") from error
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP):
            raise EmbeddedError(
                f"{where} is in the way (a directory of hae's own is needed): move it, or {_ELSEWHERE}"
            ) from error
        raise EmbeddedError(f"cannot use {where} ({error.strerror}): {_ELSEWHERE}") from error


def log_tail(log: Path, lines: int = 6) -> str:
    """The last lines of a server's log, for an error message; empty when there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])


def failed(what: str, log: Path) -> EmbeddedError:
    """The error for a server that did not come up, with the end of its log."""
    tail = log_tail(log)
    if "No space left on device" in tail:
        return EmbeddedError(f"{what}: the disk is full; free some space, or {_ELSEWHERE}")
    return EmbeddedError(f"{what}; the log {log} ends with:\n{tail}" if tail else f"{what} (see {log})")
