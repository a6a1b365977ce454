"""A database of its own for every test: clones of a template that the migrations were run on once."""

from __future__ import annotations

import asyncio
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def with_database(url: str, name: str) -> str:
    """The same server's URL for the database `name`."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


class Databases:
    """Creates, clones and drops databases on one server, for synchronous fixtures.

    It works on an event loop of its own, never the current one, so that it leaves the tests' loops alone.
    """

    def __init__(self, url: str) -> None:
        """Connects to `url`, whose user must be allowed to create databases."""
        self._url = url
        self._loop = asyncio.new_event_loop()
        self._numbers = itertools.count(1)
        self._template: str | None = None
        self._connection = self._run(asyncpg.connect(url))

    def create(self, template: str | None = None) -> str:
        """Creates a database, empty or as a copy of `template`, and returns its URL."""
        # The process id: runs that share a server must not meet.
        name = f"hae_test_{os.getpid()}_{next(self._numbers)}"
        self._execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        return with_database(self._url, name)

    def clone(self, migrate: Callable[[str], None]) -> str:
        """Creates a migrated database and returns its URL; `migrate` runs once, on the template."""
        if self._template is None:
            url = self.create()
            # In a thread: migrating runs a loop of its own, and this may be called while another is current.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(migrate, url).result()
            self._template = urlsplit(url).path.lstrip("/")
        return self.create(self._template)

    def drop(self, url: str) -> None:
        """Drops the database of `url`, ending the connections that a test left open."""
        self._execute(f'DROP DATABASE IF EXISTS "{urlsplit(url).path.lstrip("/")}" WITH (FORCE)')

    def close(self) -> None:
        """Drops the template and disconnects."""
        if self._template is not None:
            self.drop(with_database(self._url, self._template))
        self._run(self._connection.close())
        self._loop.close()

    def _execute(self, statement: str) -> None:
        self._run(self._connection.execute(statement))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)
