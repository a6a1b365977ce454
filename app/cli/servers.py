"""`hae serve`, `hae worker`: the processes of a deployment."""

from __future__ import annotations

import typer

from app.cli.environment import CommandError, ConfigOption, HostOption, PortOption, at_address, environment, run
from app.http.server import run_server
from app.settings import Settings
from app.workers.supervisor import run_worker


def add_to(cli: typer.Typer) -> None:
    for command in (serve, worker):
        cli.command()(command)


def serve(config: ConfigOption = None, host: HostOption = None, port: PortOption = None) -> None:
    """Serve the API: agents, nodes, operators, OpenAPI pages at /schema. Run as many as you like."""
    with environment(config, "serve", migrated=False) as settings:
        settings = at_address(settings, host, port)
        try:
            run(lambda stop: run_server(settings, stop, lambda bound: announce(settings, bound)))
        except OSError as error:
            raise CommandError(str(error)) from error


def worker(config: ConfigOption = None) -> None:
    """Drive jobs: waves of the job graph, timers, the sweep for silent nodes, webhook deliveries."""
    with environment(config, "worker", migrated=False) as settings:
        run(lambda stop: run_worker(settings, stop))


def announce(settings: Settings, port: int) -> None:
    """One line on standard output that people can click and programs can read."""
    print(f"hae serving on http://{settings.server.host}:{port}  (API documents at /schema)", flush=True)
