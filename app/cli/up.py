"""`hae up`: a whole engine on one machine."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import typer

from app import embedded
from app.cli.environment import (
    SUPERVISED,
    CommandError,
    ConfigOption,
    HostOption,
    PortOption,
    at_address,
    environment,
    run,
)
from app.cli.processes import supervise
from app.settings import load

log = logging.getLogger(__name__)

REVIVE_S = 3.0


def add_to(cli: typer.Typer) -> None:
    cli.command()(up)


def up(config: ConfigOption = None, host: HostOption = None, port: PortOption = None) -> None:
    """Run a whole engine on this machine: one API process and one worker, restarted when they die.

    Where solana.rpc_url is set, a listener too, which reads the chain. The embedded PostgreSQL and Valkey, where the
    settings name no others, are kept up as well.
    """
    own = load(config)
    embedded_ones = not (own.database.url and own.redis.url)
    with environment(config, "up") as settings:
        settings = at_address(settings, host, port)
        hae = [sys.executable, "-m", "app"]
        where = ["--host", settings.server.host, "--port", str(settings.server.port)]
        env = {
            "DATABASE_URL": settings.database.url,
            "REDIS_URL": settings.redis.url,
            SUPERVISED: str(os.getpid()),
        }
        if config:
            env["HAE_CONFIG"] = str(config)
        commands = {"serve": [*hae, "serve", *where], "worker": [*hae, "worker"]}
        if settings.solana.rpc_url:
            commands["listener"] = [*hae, "listener"]

        async def everything(stop: asyncio.Event) -> int:
            reviving = asyncio.create_task(_revive(stop)) if embedded_ones else None
            try:
                return await supervise(commands, env, stop)
            finally:
                stop.set()
                if reviving is not None:
                    await reviving

        code = run(everything)
    if code:
        raise CommandError("a process failed again and again; its last lines are above")


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
