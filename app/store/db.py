"""Connections and the unit of work: one transaction, its connection, its clock, its hints.

SQLModel describes the tables (app/store/tables) and Alembic migrates them; statements go to asyncpg directly, because
half of a small transaction's cost was SQLAlchemy's (docs/adr/002).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from app.core.errors import Unavailable

log = logging.getLogger(__name__)

CLOSE_S = 3.0


@dataclass(slots=True)
class Hints:
    """What a commit may wake: sent over Valkey once the transaction is in, lost without harm.

    ``events``: some were written, which want their places in the feed; ``feed``: some have got them. ``view``: rows of
    nodes have changed that views of the network hear of by asking for them. ``plans``: those with new signals.
    """

    work: bool = False
    events: bool = False
    feed: bool = False
    view: bool = False
    nodes: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    plans: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.work or self.events or self.feed or self.view or self.nodes or self.jobs or self.plans)


@dataclass(slots=True)
class UnitOfWork:
    """One transaction on ``sql``. JSONB goes in as JSON text and comes out decoded.

    ``now`` is the transaction's start by the database clock: the only clock that state depends on.
    """

    sql: asyncpg.Connection[Any]
    now: datetime
    hints: Hints = field(default_factory=Hints)


_LIMITS: Final = {"idle_in_transaction_session_timeout": "30s"}
"""A process that hangs in the middle of a transaction holds its rows no longer than that. PgBouncer takes no such
parameters: there the server's own setting counts."""


class Database:
    """A pool of at most ``pool_size`` connections to one PostgreSQL, opened when needed.

    ``url``: ``postgresql://…`` as libpq understands it (also ``?host=/socket/dir``, ``sslmode``). ``on_commit`` is
    awaited with the hints of every transaction that left some. With ``pgbouncer`` set, no statement is cached. While
    ``held`` is set the database counts as away: for processes that have not seen its migrations yet.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        pool_timeout_s: float = 5.0,
        pgbouncer: bool = False,
        application: str = "hae",
    ) -> None:
        self.url = url
        self.held = False
        self.on_commit: Callable[[Hints], Awaitable[None]] | None = None
        self._pool_timeout_s = pool_timeout_s
        self._options: dict[str, Any] = {
            "dsn": url,
            "min_size": 0,
            "max_size": pool_size,
            "timeout": 10.0,
            "max_inactive_connection_lifetime": 60.0,
            "statement_cache_size": 0 if pgbouncer else 512,
            "server_settings": {"application_name": application} | ({} if pgbouncer else _LIMITS),
            "init": _decode_json,
            # A unit of work leaves nothing behind in its session, so there is nothing to reset.
            "reset": _nothing,
        }
        self._transaction: dict[str, Any] = {}
        self._pool: asyncpg.Pool[Any] | None = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def unit(self) -> AsyncIterator[UnitOfWork]:
        """Open a transaction; commit at the end of the block, roll back when it raises.

        Raises Unavailable when PostgreSQL is away, full or too busy to give a connection; its detail says when the
        transaction may be in all the same, which nobody knows when a commit gets no answer.
        """
        connected = committing = False
        if self.held:
            raise _away()
        try:
            pool = self._pool or await self._open()
            async with pool.acquire(timeout=self._pool_timeout_s) as connection:
                connected = True
                async with connection.transaction(**self._transaction):
                    uow = UnitOfWork(connection, await connection.fetchval("SELECT now()"))
                    yield uow
                    committing = True
        except _AWAY as error:
            raise _away(unknown=committing and not isinstance(error, _REFUSED)) from error
        except asyncpg.PostgresError as error:
            if connected:
                raise
            # It answers and lets nobody in: a changed password, a fail-over, maintenance. May pass, must be known.
            log.warning("PostgreSQL refuses connections: %s: %s", type(error).__name__, error)
            raise _away() from error
        if uow.hints and self.on_commit is not None:
            await self.on_commit(uow.hints)

    def reader(self) -> Database:
        """The same server by one connection of its own, to be closed by the caller: each unit sees the database as it
        is at the unit's beginning, whatever others write, and writes nothing."""
        reader = Database(self.url)
        reader._options = {**self._options, "max_size": 1}
        reader._transaction = {"isolation": "repeatable_read", "readonly": True}
        return reader

    async def answers(self) -> bool:
        """Whether a transaction can be had now."""
        try:
            async with self.unit():
                return True
        except Unavailable:
            return False

    async def _open(self) -> asyncpg.Pool[Any]:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(**self._options)
            return self._pool

    async def close(self) -> None:
        """Close every connection; those still at work are cut after a moment."""
        if self._pool is None:
            return
        try:
            await asyncio.wait_for(self._pool.close(), CLOSE_S)
        except TimeoutError:
            self._pool.terminate()


_REFUSED = (
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresIOError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)
"""The server has said no, and rolled back: its disk or memory is full, or the transaction lost a race."""

_AWAY = (
    *_REFUSED,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # A connection that the server ended in the middle of a statement, used again before its end has come through.
    asyncpg.InternalClientError,
    # Shutdown, crash, start-up; a statement or session that an administrator or a time limit has ended.
    asyncpg.OperatorInterventionError,
    # This process stood still in the middle of a transaction for so long that the server ended it.
    asyncpg.IdleInTransactionSessionTimeoutError,
    # A primary that has become a standby.
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)
"""Nothing is wrong with the request: the server is away, full, or lost a race it broke up itself."""


def _away(*, unknown: bool = False) -> Unavailable:
    if unknown:
        return Unavailable(
            "the database was lost before it confirmed this request, which may have been carried out",
            code="database_unavailable",
            next_action="Look whether it was, or send it again with the same Idempotency-Key.",
            retry_after=1.0,
        )
    return Unavailable(
        "the database cannot take this request right now",
        code="database_unavailable",
        next_action="Try again in a moment; nothing was changed.",
        retry_after=1.0,
    )


async def _decode_json(connection: asyncpg.Connection[Any]) -> None:
    # The binary form, which COPY needs: a version byte, then the text.
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda text: b"\x01" + text.encode(),
        decoder=lambda raw: msgspec.json.decode(raw[1:]),
        schema="pg_catalog",
        format="binary",
    )
    await connection.set_type_codec(
        "json",
        encoder=str.encode,
        decoder=msgspec.json.decode,
        schema="pg_catalog",
        format="binary",
    )


async def _nothing(connection: asyncpg.Connection[Any]) -> None:
    return None
