"""`hae migrate`: bring the database to this version's tables, tell where it stands, check the models."""

from __future__ import annotations

import tempfile
from pathlib import Path

import typer

from app import embedded
from app.cli.environment import CommandError, ConfigOption, environment
from app.store import migrate, revision

commands = typer.Typer(no_args_is_help=True, help="The database's tables: up, status, check.")


def add_to(cli: typer.Typer) -> None:
    cli.add_typer(commands, name="migrate")


@commands.command()
def up(config: ConfigOption = None) -> None:
    """Apply every migration that is missing. Safe to run twice and from several machines at once."""
    with environment(config, "migrate", migrated=False) as settings:
        before = revision.status(settings.database.url)
        migrate.upgrade(settings.database.url)
        after = revision.status(settings.database.url)
    print(f"database at {after.current}" + ("" if before.up_to_date else f" (was {before.current or 'empty'})"))


@commands.command()
def status(config: ConfigOption = None) -> None:
    """Show the database's migration and this version's. Exit code 1 when they differ."""
    with environment(config, "migrate", migrated=False) as settings:
        found = revision.status(settings.database.url)
    print(f"database: {found.current or 'empty'}\nthis version: {found.head}")
    if not found.up_to_date:
        print("run: hae migrate up" if found.known else "the database is newer than this version: upgrade hae")
        raise typer.Exit(1)


@commands.command()
def check() -> None:
    """For developers: whether the migrations make exactly the tables that the models describe."""
    with tempfile.TemporaryDirectory(prefix="hae-check-") as scratch:
        Path(scratch).chmod(0o755)
        with embedded.start(Path(scratch) / "data") as servers:
            migrate.upgrade(servers.database_url)
            differences = migrate.check(servers.database_url)
    if differences:
        raise CommandError("models and migrations differ:\n  " + "\n  ".join(differences))
    print("models and migrations agree")
