"""`hae keys`: make, list, limit and revoke API keys."""

from __future__ import annotations

import json
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from app.cli.asking import with_database
from app.cli.environment import ConfigOption
from app.core.access import Scope
from app.services import keys

commands = typer.Typer(no_args_is_help=True, help="API keys: create, list, set, revoke.")
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
    weight: Annotated[int, typer.Option(min=1, max=1000, help="Its share of scarce slots against other keys")] = 1,
    max_active: Annotated[
        int, typer.Option(min=-1, help="Slots its jobs may hold at once; 0 = any number, -1 = as the settings say")
    ] = keys.DEFAULT,
    max_queued: Annotated[
        int, typer.Option(min=-1, help="Jobs of it that may wait; 0 = any number, -1 = as the settings say")
    ] = keys.DEFAULT,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make a key and print it. It is shown this once: only its hash is kept.

    Example: hae keys create --scope agent --account alice
    """
    limits = keys.Limits(weight, _limit(max_active), _limit(max_queued))
    key_id, secret = with_database(config, "keys", lambda db: keys.create(db, account, scope, label, limits))
    if as_json:
        print(json.dumps({"id": key_id, "key": secret, "account": account, "scopes": [str(one) for one in scope]}))
    else:
        print(secret)


@commands.command("list")
def listing(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show all keys, never their secrets."""
    found = with_database(config, "keys", keys.listing)
    if as_json:
        print(json.dumps([{name: getattr(key, name) for name in key.__dataclass_fields__} for key in found]))
        return
    table = Table("id", "begins with", "account", "scopes", "label", "weight", "active", "queued", "created", "state")
    for key in found:
        state = "revoked" if key.revoked else "live"
        limits = (str(key.weight), _shown(key.max_active), _shown(key.max_queued))
        table.add_row(
            key.id, key.prefix, key.account, " ".join(key.scopes), key.label, *limits, key.created_at[:19], state
        )
    Console().print(table)


@commands.command("set")
def change(
    key_id: Annotated[str, typer.Argument(help="The key's id, as listed")],
    weight: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Its share of scarce slots against other keys")
    ] = None,
    max_active: Annotated[
        int | None, typer.Option(min=-1, help="Slots its jobs may hold at once; 0 = any, -1 = as the settings say")
    ] = None,
    max_queued: Annotated[
        int | None, typer.Option(min=-1, help="Jobs of it that may wait; 0 = any, -1 = as the settings say")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Change what a key may have. What is not named stays; running servers follow within five seconds.

    Example: hae keys set key_01jd3k5m7p9r1t3v5x7z9b1d3f --weight 3 --max-active 64
    """
    limits = with_database(
        config, "keys", lambda db: keys.change(db, key_id, weight=weight, max_active=max_active, max_queued=max_queued)
    )
    print(
        f"{key_id}: weight {limits.weight}, at most {_shown(limits.max_active)} slots held, "
        f"at most {_shown(limits.max_queued)} jobs waiting"
    )


@commands.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id, as listed")], config: ConfigOption = None) -> None:
    """End a key for good. Running servers refuse it within five seconds."""
    with_database(config, "keys", lambda db: keys.revoke(db, key_id))
    print(f"revoked {key_id}")


def _limit(given: int) -> int | None:
    return None if given == keys.DEFAULT else given


def _shown(limit: int | None) -> str:
    return "default" if limit is None else str(limit) if limit else "any"
