"""The `hae` command: gathers the commands and turns known errors into one clear line."""

from __future__ import annotations

import sys

import typer

from app.cli import bench, database, demo, graph, keys, node, servers
from app.cli.environment import CommandError
from app.core.errors import HaeError
from app.embedded import EmbeddedError
from app.settings import SettingsError

cli = typer.Typer(
    name="hae",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Hypernode Automation Engine: matches GPU jobs to nodes and drives every job to its end.\n\n"
    "Without DATABASE_URL and REDIS_URL every command uses an embedded PostgreSQL and Valkey in a data directory of "
    "its own (HAE_DATA_DIR). Start with `hae up`, then `hae keys create --scope agent --account me`.",
)
servers.add_to(cli)
node.add_to(cli)
demo.add_to(cli)
graph.add_to(cli)
cli.add_typer(database.commands, name="migrate")
cli.add_typer(keys.commands, name="keys")
cli.add_typer(bench.commands, name="bench")


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 failed, 2 wrong usage or settings."""
    try:
        cli()
    except (SettingsError, EmbeddedError, CommandError) as error:
        _end(str(error), 2)
    except HaeError as error:
        _end(f"{error.detail} {error.next_action}".strip(), 1)
    except OSError as error:
        _end(str(error), 1)


def _end(line: str, code: int) -> None:
    print(f"hae: {line}", file=sys.stderr)
    sys.exit(code)
