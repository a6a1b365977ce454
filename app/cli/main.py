"""The `hae` command: gathers the commands and turns known errors into one clear line."""

from __future__ import annotations

import gc
import sys
from importlib import import_module

import typer

from app.cli.environment import CommandError
from app.core.errors import HaeError, sentences
from app.embedded import EmbeddedError
from app.settings import SettingsError
from app.store.revision import WrongMigrations

MODULES = {
    "up": "up",
    "serve": "servers",
    "worker": "servers",
    "listener": "listener",
    "replay": "replay",
    "chain": "chain",
    "node": "node",
    "demo": "demo",
    "devchain": "devchain",
    "keys": "keys",
    "migrate": "database",
    "graph": "graph",
    "audit": "audit",
    "verify": "verify",
    "maintenance": "maintenance",
    "simulate": "simulate",
    "policy": "policy",
    "plugin": "plugin",
    "mcp": "mcp",
    "submit": "submit",
    "watch": "watch",
    "jobs": "jobs",
    "plan": "plan",
    "bench": "bench",
    "chaos": "chaos",
}
"""Commands and the modules they live in: only the one that is run is loaded, which halves start and memory."""


def application(arguments: list[str]) -> typer.Typer:
    """The command line for these arguments: with the named command alone, or with all when none is named."""
    cli = typer.Typer(
        name="hae",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
    )
    cli.callback()(hae)
    named = next((argument for argument in arguments if not argument.startswith("-")), "")
    wanted = [MODULES[named]] if named in MODULES else dict.fromkeys(MODULES.values())
    for module in wanted:
        import_module(f"app.cli.{module}").add_to(cli)
    return cli


def hae() -> None:
    """Hypernode Automation Engine: matches GPU jobs to nodes and drives every job to its end.

    Without DATABASE_URL and REDIS_URL every command uses an embedded PostgreSQL and Valkey in a data directory of its
    own (HAE_DATA_DIR). Start with `hae up`; then `hae keys create --scope agent`; see it all with `hae demo`.
    """


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 failed, 2 wrong usage or settings."""
    # Most of what is loaded lives as long as the process: rarer collections are a tenth of the speed.
    gc.set_threshold(50_000, 20, 50)
    try:
        application(sys.argv[1:])()
    except (SettingsError, EmbeddedError, CommandError, WrongMigrations) as error:
        _end(str(error), 2)
    except HaeError as error:
        _end(sentences(error.detail, error.next_action), 1)
    except OSError as error:
        _end(str(error), 1)


def _end(line: str, code: int) -> None:
    print(f"hae: {line}", file=sys.stderr)
    sys.exit(code)
