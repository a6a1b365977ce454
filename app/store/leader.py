"""Leadership by an advisory lock: held by a connection of its own, and lost with it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import asyncpg

log = logging.getLogger(__name__)

CONNECT_S = 5.0
CALL_S = 5.0


class Leadership:
    """A session-level advisory lock named ``name`` on the database at ``url``.

    ``url`` must lead to PostgreSQL directly: behind PgBouncer in transaction mode a session is nobody's. Whoever
    holds the lock leads; the server frees it when the connection ends, however it ends.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: asyncpg.Connection[Any] | None = None

    async def try_acquire(self) -> bool:
        """Whether this process leads now. False also while the database is away."""
        try:
            if self._connection is None:
                self._connection = await asyncpg.connect(
                    self._url, timeout=CONNECT_S, server_settings={"application_name": "hae leader"}
                )
            taken: bool = await self._connection.fetchval(
                "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", self._name, timeout=CALL_S
            )
            return taken
        except _AWAY as error:
            log.debug("no leadership while the database is away: %s", type(error).__name__)
            await self.release()
            return False

    async def held(self) -> bool:
        """Whether the connection that holds the lock still lives."""
        if self._connection is None:
            return False
        try:
            await self._connection.fetchval("SELECT 1", timeout=CALL_S)
        except _AWAY:
            await self.release()
            return False
        return True

    async def release(self) -> None:
        """Give the lock up, for the next one to take."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await asyncio.wait_for(connection.close(), CONNECT_S)
        except _AWAY:
            connection.terminate()


# InternalClientError: the server has ended the connection, and its end has not come through yet.
_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
