"""Alembic, driven from code: bring a database up, check that models and migrations agree."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import asyncpg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

import app.store.tables  # noqa: F401  (fills SQLModel.metadata)


def config() -> Config:
    """Alembic's settings, without a file: the scripts are the package ``migrations``."""
    settings = Config()
    settings.set_main_option("script_location", "migrations:")
    settings.set_main_option("path_separator", "os")
    return settings


def upgrade(database_url: str, to: str = "head") -> None:
    """Apply every migration that is missing, up to the revision ``to``. Safe to run from several processes at once: one
    waits for the other."""
    asyncio.run(_with_connection(database_url, lambda connection: _upgrade(connection, to)))


def downgrade(database_url: str, to: str) -> None:
    """Take back the migrations after the revision ``to`` (for developers: what they added is lost)."""
    asyncio.run(_with_connection(database_url, lambda connection: _downgrade(connection, to)))


def check(database_url: str) -> list[str]:
    """Differences between the models and the database at ``database_url``, one line each; empty = they agree."""
    lines: list[str] = asyncio.run(_with_connection(database_url, _differences))
    return lines


def revision(database_url: str, message: str) -> None:
    """Write a new migration from the differences between the models and the database (for developers)."""
    settings = config()

    def generate(connection: Connection) -> None:
        settings.attributes["connection"] = connection
        command.revision(settings, message=message, autogenerate=True)

    asyncio.run(_with_connection(database_url, generate))


async def _with_connection(database_url: str, work: Any) -> Any:
    async def connect() -> Any:
        return await asyncpg.connect(database_url, timeout=10.0)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, to: str) -> None:
    command.upgrade(_alone(connection), to)


def _downgrade(connection: Connection, to: str) -> None:
    command.downgrade(_alone(connection), to)


def _alone(connection: Connection) -> Config:
    """Settings for this connection, once nobody else migrates: who starts together must not both do it."""
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('hae_migrate'))")
    settings = config()
    settings.attributes["connection"] = connection
    return settings


def _differences(connection: Connection) -> list[str]:
    context = MigrationContext.configure(
        connection,
        opts={"compare_type": True, "compare_server_default": True, "include_name": include_name},
    )
    return [repr(difference) for difference in compare_metadata(context, SQLModel.metadata)]


def include_name(name: str | None, kind: str, parents: Any) -> bool:
    """Only our own tables: a database may hold others'."""
    return kind != "table" or name in SQLModel.metadata.tables


def render_item(kind: str, item: Any, context: Any) -> str | Literal[False]:
    """SQLModel's string type is plain sa.String in migrations, so that they need no import of sqlmodel."""
    if kind == "type" and type(item).__name__ == "AutoString":
        return f"sa.String(length={item.length})" if item.length else "sa.String()"
    return False


def run_env(environment: Any) -> None:
    """What migrations/env.py does, given alembic.context: configure and run within the caller's transaction."""
    environment.configure(
        connection=environment.config.attributes["connection"],
        target_metadata=SQLModel.metadata,
        include_name=include_name,
        render_item=render_item,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=False,
    )
    with environment.begin_transaction():
        environment.run_migrations()
