"""What real servers of one's own stand on for a while: a directory, and a start that blocks nobody."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar


class Closable(Protocol):
    def close(self) -> None: ...


Servers = TypeVar("Servers", bound=Closable)


@contextmanager
def own_directory(prefix: str) -> Iterator[Path]:
    """A directory that the servers can use: as root they run as another user, who must be able to enter it."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        path.chmod(0o711)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@asynccontextmanager
async def started(start: Callable[[], Servers]) -> AsyncIterator[Servers]:
    """What ``start`` starts, closed at the end; both in a thread, because they block for seconds."""
    starting = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        servers = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # The thread cannot be interrupted; what it started must not stay.
        (await starting).close()
        raise
    try:
        yield servers
    finally:
        await asyncio.shield(asyncio.to_thread(servers.close))
