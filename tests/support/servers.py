"""The servers the tests run on: embedded ones in a directory of the run's own, or the environment's."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Servers:
    """URLs of a PostgreSQL whose user may create databases, and of a Valkey or Redis that may be emptied."""

    database_url: str
    redis_url: str


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A short-named directory that embedded servers can use: as root, others may enter it."""
    path = Path(tempfile.mkdtemp(prefix="hae-"))
    try:
        path.chmod(0o711)
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def running() -> Iterator[Servers]:
    """TEST_DATABASE_URL and TEST_REDIS_URL where they are set, embedded servers for the rest."""
    database_url, redis_url = os.environ.get("TEST_DATABASE_URL"), os.environ.get("TEST_REDIS_URL")
    with ExitStack() as stack:
        if not (database_url and redis_url):
            directory = stack.enter_context(temporary_directory())
            servers = stack.enter_context(embedded.start(directory / "data"))
            database_url = database_url or servers.database_url
            redis_url = redis_url or servers.redis_url
        yield Servers(database_url, redis_url)
