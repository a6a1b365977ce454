"""Connections and the unit of work: one transaction, its session, its raw connection, its clock, its hints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import asyncpg
import msgspec
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from app.core.errors import Unavailable
from app.store.rows import to_json

Connection = asyncpg.Connection[asyncpg.Record] if hasattr(asyncpg.Connection, "__class_getitem__") else Any


@dataclass(slots=True)
class Hints:
    """What a commit may wake: sent over Valkey once the transaction is in, lost without harm."""

    work: bool = False
    outbox: bool = False
    nodes: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return self.work or self.outbox or bool(self.nodes) or bool(self.jobs)


@dataclass(slots=True)
class UnitOfWork:
    """One transaction. ``sql`` is the asyncpg connection under ``session``, for set-based statements.

    ``now`` is the transaction's start by the database clock: the only clock that state depends on.
    """

    session: AsyncSession
    sql: asyncpg.Connection[Any]
    now: datetime
    hints: Hints = field(default_factory=Hints)


class Database:
    """A pool of connections to one PostgreSQL.

    ``url``: ``postgresql://…`` as libpq understands it (also ``?host=/socket/dir``, ``sslmode``). ``on_commit`` is
    awaited with the hints of every transaction that left some. With ``pgbouncer`` set, no statement is cached.
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
        self._engine = _engine(url, pool_size, pool_timeout_s, pgbouncer, application)
        self._sessions = async_sessionmaker(self._engine, class_=AsyncSession, expire_on_commit=False)
        self.on_commit: Callable[[Hints], Awaitable[None]] | None = None

    @asynccontextmanager
    async def unit(self) -> AsyncIterator[UnitOfWork]:
        """Open a transaction; commit at the end of the block, roll back when it raises.

        Raises Unavailable when PostgreSQL is away, full or too busy to give a connection.
        """
        try:
            async with self._sessions() as session, session.begin():
                connection = await session.connection()
                # Through SQLAlchemy, so that its adapter opens the transaction on this very connection.
                now = (await connection.exec_driver_sql("SELECT now()")).scalar_one()
                raw = await connection.get_raw_connection()
                uow = UnitOfWork(session, cast("asyncpg.Connection[Any]", raw.driver_connection), now)
                yield uow
            hints = uow.hints
        except (OSError, PoolTimeout, asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
            raise _away(error) from error
        except DBAPIError as error:
            if error.connection_invalidated or isinstance(_driver_error(error), _AWAY):
                raise _away(error) from error
            raise
        except _AWAY as error:
            raise _away(error) from error
        if hints and self.on_commit is not None:
            await self.on_commit(hints)

    async def close(self) -> None:
        await self._engine.dispose()


_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.TooManyConnectionsError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    OSError,
)


def _driver_error(error: DBAPIError) -> BaseException | None:
    """The asyncpg error under SQLAlchemy's wrapping."""
    cause: BaseException | None = error.orig
    return cause.__cause__ if cause is not None and cause.__cause__ is not None else cause


def _away(error: BaseException) -> Unavailable:
    return Unavailable(
        "the database cannot take this request right now",
        code="database_unavailable",
        next_action="Try again in a moment; nothing was changed.",
        retry_after=1.0,
    )


def _engine(url: str, pool_size: int, timeout_s: float, pgbouncer: bool, application: str) -> AsyncEngine:
    options: dict[str, Any] = {"server_settings": {"application_name": application}, "timeout": 10.0}
    if pgbouncer:
        options["statement_cache_size"] = 0
    else:
        options["statement_cache_size"] = 256

    async def connect() -> Any:
        return await asyncpg.connect(url, **options)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout_s,
        pool_use_lifo=True,
        json_serializer=to_json,
        json_deserializer=msgspec.json.decode,
    )
