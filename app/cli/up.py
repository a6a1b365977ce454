"""`hae up`: a whole engine on one machine."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Annotated

import typer

from app import embedded
from app.cli.environment import (
    SUPERVISED,
    CommandError,
    ConfigOption,
    HostOption,
    PortOption,
    at_address,
    check_migrated,
    environment,
    run,
)
from app.cli.processes import STOP_S, supervise
from app.core.errors import Unavailable
from app.settings import Settings, load

log = logging.getLogger(__name__)

REVIVE_S = 3.0
SHUTDOWN_S = 15.0
"""What an API process may need to close everything once its requests have ended."""
LAST_PORT = 65_535


def add_to(cli: typer.Typer) -> None:
    cli.command()(up)


def up(
    config: ConfigOption = None,
    host: HostOption = None,
    port: PortOption = None,
    serves: Annotated[int, typer.Option(help="API processes, on the port and those after it", min=0, max=64)] = 1,
    workers: Annotated[int, typer.Option(help="Workers", min=0, max=64)] = 1,
    listeners: Annotated[
        int | None,
        typer.Option(
            help="Listeners, of which one leads; 1 where solana.rpc_url is set", min=0, max=64, show_default=False
        ),
    ] = None,
) -> None:
    """Run a whole engine on this machine: API processes, workers and, with a chain, listeners, restarted when they die.

    Several API processes listen on ports that follow each other (3002, 3003, …; with port 0 on free ones), each told in
    a line of its own. The embedded PostgreSQL and Valkey, where the settings name no others, are kept up as well.
    SIGTERM or Ctrl-C ends it all in order.
    """
    own = load(config)
    if listeners and not own.solana.rpc_url:
        raise CommandError("--listeners needs a chain: set solana.rpc_url (SOLANA_RPC_URL)")
    if listeners is None:
        listeners = 1 if own.solana.rpc_url else 0
    if not serves + workers + listeners:
        raise CommandError("there is nothing to run")
    with environment(config, "up", migrated=False) as settings:
        settings = at_address(settings, host, port)
        if own.database.url:
            _look_at(own.database.url)
        commands = _commands(settings, serves, workers, listeners)
        env = {
            "DATABASE_URL": settings.database.url,
            "REDIS_URL": settings.redis.url,
            SUPERVISED: str(os.getpid()),
        }
        if config:
            env["HAE_CONFIG"] = str(config)
        embedded_ones = not (own.database.url and own.redis.url)

        async def everything(stop: asyncio.Event) -> int:
            reviving = asyncio.create_task(_revive(stop)) if embedded_ones else None
            try:
                return await supervise(commands, env, stop, stop_s=_stop_s(settings))
            finally:
                stop.set()
                if reviving is not None:
                    await reviving

        code = run(everything)
    if code:
        raise CommandError("a process does not stay up; its last lines are above")


def _look_at(database_url: str) -> None:
    """Raise WrongMigrations here, once, rather than in every process; those wait for a database that is away."""
    try:
        check_migrated(database_url)
    except Unavailable as error:
        log.warning("the database does not answer yet: %s", error.detail)


def _commands(settings: Settings, serves: int, workers: int, listeners: int) -> dict[str, list[str]]:
    """The command line of each process, by name. Raises CommandError when there are not enough ports."""
    hae = [sys.executable, "-m", "app"]
    server = settings.server
    ports = [server.port + (each if server.port else 0) for each in range(serves)]
    if max(ports, default=0) > LAST_PORT:
        raise CommandError(f"{serves} API processes need the ports up to {ports[-1]}, and {LAST_PORT} is the last one")
    commands = {
        f"serve {each}": [*hae, "serve", "--host", server.host, "--port", str(port)]
        for each, port in enumerate(ports, 1)
    }
    commands |= {f"worker {each + 1}": [*hae, "worker"] for each in range(workers)}
    commands |= {f"listener {each + 1}": [*hae, "listener"] for each in range(listeners)}
    return commands


def _stop_s(settings: Settings) -> float:
    """How long the slowest process may take to end: STOP_S, unless API processes have been given more."""
    return max(STOP_S, settings.server.drain_s + settings.server.grace_s + SHUTDOWN_S)


async def _revive(stop: asyncio.Event) -> None:
    """Start the embedded servers again whenever one of them has died."""
    directory = embedded.default_data_dir()
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), REVIVE_S)
        except TimeoutError:
            try:
                # Joins what runs and starts what does not; this process's own share keeps them from stopping.
                await asyncio.to_thread(lambda: embedded.start(directory).close())
            except embedded.EmbeddedError as error:
                log.warning("the embedded servers cannot be started: %s", error)
