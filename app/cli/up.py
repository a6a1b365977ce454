"""`hae up`: a whole engine on one machine."""

from __future__ import annotations

import sys

import typer

from app.cli.environment import (
    CommandError,
    ConfigOption,
    HostOption,
    PortOption,
    at_address,
    environment,
    run,
)
from app.cli.processes import supervise


def add_to(cli: typer.Typer) -> None:
    cli.command()(up)


def up(config: ConfigOption = None, host: HostOption = None, port: PortOption = None) -> None:
    """Run a whole engine on this machine: one API process and one worker, restarted when they die."""
    with environment(config, "up") as settings:
        settings = at_address(settings, host, port)
        hae = [sys.executable, "-m", "app"]
        where = ["--host", settings.server.host, "--port", str(settings.server.port)]
        env = {"DATABASE_URL": settings.database.url, "REDIS_URL": settings.redis.url}
        if config:
            env["HAE_CONFIG"] = str(config)
        code = run(lambda stop: supervise({"serve": [*hae, "serve", *where], "worker": [*hae, "worker"]}, env, stop))
    if code:
        raise CommandError("a process failed again and again; its last lines are above")
