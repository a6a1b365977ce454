"""`hae keys`: make, list, limit and revoke API keys."""

from __future__ import annotations

import json
from typing import Annotated, TypeVar

import typer
from rich.markup import escape
from rich.table import Column, Table

from app.cli.asking import with_database
from app.cli.environment import ConfigOption
from app.cli.tables import show as show_table
from app.core.access import Rights, Scope
from app.core.money import format_hyper, parse_hyper
from app.core.requirements import JobType
from app.services import keys
from app.store.db import Database

commands = typer.Typer(no_args_is_help=True, help="API keys: create, list, set, revoke.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead")]
ToolOption = Annotated[
    list[str], typer.Option("--tool", help="A tool it may call, such as get_job; repeatable. Without any: every tool")
]
TypeOption = Annotated[
    list[JobType],
    typer.Option("--job-type", help="A type of job it may submit, such as render; repeatable. Without any: every type"),
]
CapDayOption = Annotated[
    str, typer.Option("--cap-day", help='HYPER that its jobs of a day (UTC) may cost, such as "12.5"; none = any')
]
CapJobOption = Annotated[
    str, typer.Option("--cap-job", help='HYPER that each of its jobs may cost, such as "0.5"; none = any')
]
NONE = "none"
_MOST = 2**31 - 1
Answer = TypeVar("Answer")


def add_to(cli: typer.Typer) -> None:
    cli.add_typer(commands, name="keys")


@commands.command()
def create(
    scope: Annotated[
        list[Scope],
        typer.Option(
            help="agent: submit jobs; node: run jobs; operator: run the network; webhook: sign calls. Repeatable"
        ),
    ],
    account: Annotated[str, typer.Option(help="Who it is for; keys of one account see the same jobs")] = "default",
    label: Annotated[str, typer.Option(help="What it is for, to tell keys apart")] = "",
    weight: Annotated[int, typer.Option(min=1, max=1000, help="Its share of scarce slots against other keys")] = 1,
    max_active: Annotated[
        int,
        typer.Option(
            min=-1, max=_MOST, help="Slots its jobs may hold at once; 0 = any number, -1 = as the settings say"
        ),
    ] = keys.DEFAULT,
    max_queued: Annotated[
        int, typer.Option(min=-1, max=_MOST, help="Jobs of it that may wait; 0 = any number, -1 = as the settings say")
    ] = keys.DEFAULT,
    tool: ToolOption = [],  # noqa: B006 - typer copies it
    job_type: TypeOption = [],  # noqa: B006
    cap_day: CapDayOption = NONE,
    cap_job: CapJobOption = NONE,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make a key and print it. It is shown this once: only its hash is kept.

    Example: hae keys create --scope agent --account alice --cap-day 12.5 --job-type llm_inference
    """
    limits = keys.Limits(weight, _limit(max_active), _limit(max_queued))
    rights = Rights(
        frozenset(_tools(tool)), frozenset(job_type), _cap(cap_day, "--cap-day"), _cap(cap_job, "--cap-job")
    )
    key_id, secret = with_database(config, "keys", lambda db: keys.create(db, account, scope, label, limits, rights))
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
    table = Table(
        Column("id", no_wrap=True), "begins", "account", "scopes", "label", "may", "limits", "created", "ended"
    )
    for key in found:
        table.add_row(
            key.id,
            key.prefix,
            escape(key.account),
            " ".join(key.scopes),
            escape(key.label),
            " ".join([*key.tools, *key.job_types]) or "all",
            "\n".join(_limits(key)),
            key.created_at[:10],
            "revoked" if key.revoked else "",
        )
    show_table(table)


def _limits(key: keys.KeyInfo) -> list[str]:
    """What sets it apart from a key that was made without any option."""
    told = {
        f"weight {key.weight}": key.weight != 1,
        f"{_shown(key.max_active)} slots": key.max_active is not None,
        f"{_shown(key.max_queued)} waiting": key.max_queued is not None,
        f"{key.cap_day} HYPER a day": bool(key.cap_day),
        f"{key.cap_job} HYPER a job": bool(key.cap_job),
    }
    return [text for text, is_set in told.items() if is_set]


@commands.command("set")
def change(
    key_id: Annotated[str, typer.Argument(help="The key's id, as listed")],
    weight: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Its share of scarce slots against other keys")
    ] = None,
    max_active: Annotated[
        int | None,
        typer.Option(min=-1, max=_MOST, help="Slots its jobs may hold at once; 0 = any, -1 = as the settings say"),
    ] = None,
    max_queued: Annotated[
        int | None, typer.Option(min=-1, max=_MOST, help="Jobs of it that may wait; 0 = any, -1 = as the settings say")
    ] = None,
    tool: Annotated[
        list[str] | None, typer.Option(help="Tools that it may call, in place of those so far; none = every tool")
    ] = None,
    job_type: Annotated[
        list[str] | None, typer.Option(help="Types of job that it may submit, in place of those so far; none = every")
    ] = None,
    cap_day: Annotated[
        str | None, typer.Option(help='HYPER that its jobs of a day (UTC) may cost, such as "12.5"; none = any')
    ] = None,
    cap_job: Annotated[
        str | None, typer.Option(help='HYPER that each of its jobs may cost, such as "0.5"; none = any')
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Change what a key may have, do and spend. What is not named stays; running servers follow within five seconds.

    Example: hae keys set key_01jd3k5m7p9r1t3v5x7z9b1d3f --weight 3 --max-active 64 --cap-day 12.5 --tool none
    """
    tools = None if not tool else _tools([] if tool == [NONE] else tool)
    types = None if not job_type else [] if job_type == [NONE] else job_type
    day, job = (
        keys.NO_CAP if given == NONE else _cap(given, option)
        for given, option in ((cap_day, "--cap-day"), (cap_job, "--cap-job"))
    )

    async def work(db: Database) -> tuple[keys.Limits, Rights]:
        # Rights first: only they can still be wrong, and then nothing is changed.
        rights = await keys.change_rights(db, key_id, tools=tools, job_types=types, cap_day=day, cap_job=job)
        return await keys.change(db, key_id, weight=weight, max_active=max_active, max_queued=max_queued), rights

    limits, rights = with_database(config, "keys", work)
    print(
        f"{key_id}: weight {limits.weight}, at most {_shown(limits.max_active)} slots held, "
        f"at most {_shown(limits.max_queued)} jobs waiting; may call {_named(rights.tools, 'every tool')}, "
        f"submit {_named(rights.job_types, 'every type of job')}, spend {_hyper(rights.cap_day)} a day, "
        f"{_hyper(rights.cap_job)} a job"
    )


@commands.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id, as listed")], config: ConfigOption = None) -> None:
    """End a key for good. Running servers refuse it within five seconds."""
    with_database(config, "keys", lambda db: keys.revoke(db, key_id))
    print(f"revoked {key_id}")


def _tools(names: list[str]) -> list[str]:
    """These names, if there are such tools; raises NotFound with those that there are."""
    # Takes a moment to load, and only these options need it.
    from tools.registry import get_tool

    return [get_tool(name).name for name in names]


def _cap(given: str | None, option: str) -> int | None:
    """Base units of HYPER; None for ``none`` and for what is not given. Raises InvalidInput."""
    return None if given in (None, NONE) else parse_hyper(str(given), option)


def _named(names: frozenset[str], every: str) -> str:
    return ", ".join(sorted(names)) or every


def _hyper(amount: int | None) -> str:
    return "any amount" if amount is None else f"{format_hyper(amount)} HYPER"


def _limit(given: int) -> int | None:
    return None if given == keys.DEFAULT else given


def _shown(limit: int | None) -> str:
    return "default" if limit is None else str(limit) if limit else "any"
