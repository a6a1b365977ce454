"""`hae keys`: make, list and revoke API keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from app.cli.environment import ConfigOption, environment
from app.core.access import Scope
from app.services import keys
from app.store.db import Database

commands = typer.Typer(no_args_is_help=True, help="API keys: create, list, revoke.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead")]
Answer = TypeVar("Answer")


def add_to(cli: typer.Typer) -> None:
    cli.add_typer(commands, name="keys")


@commands.command()
def create(
    scope: Annotated[
        list[Scope],
        typer.Option(help="agent: submit jobs; node: run jobs; operator: run the network. Repeatable"),
    ],
    account: Annotated[str, typer.Option(help="Who it is for; keys of one account see the same jobs")] = "default",
    label: Annotated[str, typer.Option(help="What it is for, to tell keys apart")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make a key and print it. It is shown this once: only its hash is kept.

    Example: hae keys create --scope agent --account alice
    """
    key_id, secret = _with_database(config, lambda db: keys.create(db, account, scope, label))
    if as_json:
        print(json.dumps({"id": key_id, "key": secret, "account": account, "scopes": [str(one) for one in scope]}))
    else:
        print(secret)


@commands.command("list")
def listing(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show all keys, never their secrets."""
    found = _with_database(config, keys.listing)
    if as_json:
        print(json.dumps([{name: getattr(key, name) for name in key.__dataclass_fields__} for key in found]))
        return
    table = Table("id", "begins with", "account", "scopes", "label", "created", "state")
    for key in found:
        state = "revoked" if key.revoked else "live"
        table.add_row(key.id, key.prefix, key.account, " ".join(key.scopes), key.label, key.created_at[:19], state)
    Console().print(table)


@commands.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id, as listed")], config: ConfigOption = None) -> None:
    """End a key for good. Running servers refuse it within five seconds."""
    _with_database(config, lambda db: keys.revoke(db, key_id))
    print(f"revoked {key_id}")


def _with_database(config: Path | None, work: Callable[[Database], Awaitable[Answer]]) -> Answer:
    with environment(config, "keys", quiet=True) as settings:

        async def once() -> Answer:
            db = Database(settings.database.url, pool_size=1)
            try:
                return await work(db)
            finally:
                await db.close()

        return asyncio.run(once())
