"""`hae serve`, `hae worker`, `hae up`."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from app.cli.environment import CommandError, ConfigOption, environment, run
from app.cli.processes import supervise
from app.http.server import run_server
from app.settings import Settings
from app.workers.supervisor import run_worker

HostOption = Annotated[str | None, typer.Option(help="Address to listen on (setting server.host)", show_default=False)]
PortOption = Annotated[
    int | None, typer.Option(help="Port; 0 takes a free one (setting server.port, 3002)", show_default=False)
]


def add_to(cli: typer.Typer) -> None:
    for command in (up, serve, worker):
        cli.command()(command)


def serve(config: ConfigOption = None, host: HostOption = None, port: PortOption = None) -> None:
    """Serve the API: agents, nodes, operators, OpenAPI pages at /schema. Run as many as you like."""
    with environment(config, "serve") as settings:
        settings = at_address(settings, host, port)
        run(lambda stop: run_server(settings, stop, lambda bound: announce(settings, bound)))


def worker(config: ConfigOption = None) -> None:
    """Drive jobs: waves of the job graph, timers, the sweep for silent nodes, webhook deliveries."""
    with environment(config, "worker") as settings:
        run(lambda stop: run_worker(settings, stop))


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


def at_address(settings: Settings, host: str | None, port: int | None) -> Settings:
    """The settings with the address of the command line."""
    if port is not None and not 0 <= port <= 65535:
        raise CommandError("--port must be 0 to 65535")
    server = settings.server
    return msgspec.structs.replace(
        settings,
        server=msgspec.structs.replace(server, host=host or server.host, port=server.port if port is None else port),
    )


def announce(settings: Settings, port: int) -> None:
    """One line on standard output that people can click and programs can read."""
    print(f"hae serving on http://{settings.server.host}:{port}  (API documents at /schema)", flush=True)
