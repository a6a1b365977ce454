"""What every command stands on: settings, servers (embedded where none are named), logging, a stop on signals."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
import uvloop

from app import embedded
from app.core.errors import InvalidInput, NotFound
from app.settings import Settings, SettingsError, load
from app.store import revision
from app.telemetry import disable_tracing, setup_logging

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", envvar="HAE_CONFIG", help="JSON or TOML file with settings", show_default=False),
]
HostOption = Annotated[str | None, typer.Option(help="Address to listen on (setting server.host)", show_default=False)]
PortOption = Annotated[
    int | None, typer.Option(help="Port; 0 takes a free one (setting server.port, 3002)", show_default=False)
]
Answer = TypeVar("Answer")


SUPERVISED = "HAE_SUPERVISED"
"""Environment variable in which `hae up` tells its children its process id."""


_MATCHING = frozenset({"serve", "worker", "listener", "up"})
"""Components that give jobs without a policy the network's."""
_SERVING = frozenset({"serve", "up"})


class CommandError(Exception):
    """The command cannot be carried out as asked; the message says what to do."""


@contextmanager
def environment(
    config: Path | None, component: str, *, migrated: bool = True, quiet: bool = False
) -> Iterator[Settings]:
    """Settings with the URLs of running servers in them.

    Servers that the settings do not name are started (or shared) from the embedded ones, migrated at once: they
    belong to this program. A named database must be at this code's migrations, unless ``migrated`` is False: for
    commands that are about migrations, and for processes, which wait for the database and then check by themselves.
    """
    settings = load(config)
    if component in _MATCHING:
        check_policy(settings)
    if component in _SERVING:
        check_plugins(settings)
    setup_logging(msgspec.structs.replace(settings.log, level="warning") if quiet else settings.log, component)
    disable_tracing()
    if settings.database.url and settings.redis.url:
        if migrated:
            check_migrated(settings.database.url)
        yield settings
        return
    with embedded.start(embedded.default_data_dir()) as servers:
        own = not settings.database.url
        settings = with_servers(settings, servers.database_url, servers.redis_url)
        if own:
            upgrade(settings.database.url)
        elif migrated:
            check_migrated(settings.database.url)
        yield settings


def check_policy(settings: Settings) -> None:
    """Raises SettingsError, listing the known ones, when the network's own policy is none of them."""
    # Policies bring NumPy along, which is most of the start of a command that needs none.
    from app.matchmaker.policy import get_policy

    try:
        get_policy(settings.matchmaker.algorithm)
    except InvalidInput as error:
        raise SettingsError(f"matchmaker.algorithm (HAE_MATCHMAKER_ALGORITHM): {error.detail}") from error


def check_plugins(settings: Settings) -> None:
    """Raises SettingsError, listing the installed ones, for an agent plugin that is not there."""
    # What reads packages' metadata is no part of the start of other commands.
    from agent_plugins.loader import check_installed

    try:
        check_installed(settings.agents.plugins)
    except NotFound as error:
        raise SettingsError(f"agents.plugins (HAE_AGENTS_PLUGINS): {error.detail}. {error.next_action}") from error


def with_servers(settings: Settings, database_url: str, redis_url: str) -> Settings:
    """The settings with these URLs where they name none."""
    replace = msgspec.structs.replace
    return replace(
        settings,
        database=replace(settings.database, url=settings.database.url or database_url),
        redis=replace(settings.redis, url=settings.redis.url or redis_url),
    )


def at_address(settings: Settings, host: str | None, port: int | None) -> Settings:
    """The settings with the address of the command line."""
    if port is not None and not 0 <= port <= 65535:
        raise CommandError("--port must be 0 to 65535")
    server = settings.server
    return msgspec.structs.replace(
        settings,
        server=msgspec.structs.replace(server, host=host or server.host, port=server.port if port is None else port),
    )


def upgrade(database_url: str) -> None:
    """Apply missing migrations. Alembic is loaded only if there are any: it is half of a small command's start.

    Raises WrongMigrations when the database is newer than this code.
    """
    status = revision.status(database_url)
    if not status.known:
        status.check()
    if not status.up_to_date:
        from app.store import migrate

        migrate.upgrade(database_url)


def check_migrated(database_url: str) -> None:
    """Raises WrongMigrations unless the database is exactly at the migrations this code knows."""
    revision.status(database_url).check()


async def _end_with(parent: int, stop: asyncio.Event) -> None:
    """Set ``stop`` when `hae up`, whose child this is, has died: its servers would be stopped under an orphan."""
    # Nothing tells of a parent's death but a look.
    while os.getppid() == parent:  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    stop.set()


def run(main: Callable[[asyncio.Event], Awaitable[Answer]]) -> Answer:
    """Run ``main(stop)`` on uvloop; SIGTERM and SIGINT set ``stop``, a second one ends the process at once."""

    async def guarded() -> Answer:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def told(number: signal.Signals) -> None:
            stop.set()
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(each)

        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, told, each)
        parent = os.environ.get(SUPERVISED, "")
        watching = asyncio.create_task(_end_with(int(parent), stop)) if parent.isdecimal() else None
        try:
            return await main(stop)
        finally:
            if watching is not None:
                watching.cancel()

    return uvloop.run(guarded())
