"""`hae chain`: how the reading of the chain stands, and what could not be read."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from app.cli.environment import ConfigOption, environment, run
from app.settings import Settings
from app.store.chain import status as stored
from app.store.chain.status import ChainStatus, QuarantineRow
from app.store.db import Database, UnitOfWork

commands = typer.Typer(no_args_is_help=True, help="The chain as the listener sees it: status, quarantine.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead")]
Answer = TypeVar("Answer")


def add_to(cli: typer.Typer) -> None:
    cli.add_typer(commands, name="chain")


@commands.command()
def status(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show each program's cursor, its lag behind the chain's tip in slots, and what waits or was put aside.

    Exit code 1 when a program does not move.
    """
    with environment(config, "chain", quiet=True) as settings:
        found = _ask(settings, stored.status)
        names = _names(settings)
    if as_json:
        print(json.dumps(asdict(found), default=str))
    else:
        _show(found, names)
    if any(program.stalled for program in found.programs):
        raise typer.Exit(1)


@commands.command()
def quarantine(
    reason: Annotated[str, typer.Option(help="Only what was put aside for this reason", show_default=False)] = "",
    resolved: Annotated[bool, typer.Option("--resolved", help="What a later reading could read after all")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Rows at most, newest first")] = 50,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show what belongs to our programs and could not be read. Nothing of it was dropped; nothing of it has effects.

    After an upgrade that can read it: `hae replay --from-signature SIGNATURE`.
    """
    with environment(config, "chain", quiet=True) as settings:
        rows = _ask(settings, lambda uow: stored.quarantine_page(uow, reason=reason, resolved=resolved, limit=limit))
    if as_json:
        print(json.dumps([_plain(row) for row in rows], default=str))
        return
    if not rows:
        print("nothing is in quarantine" if not resolved else "nothing was resolved")
        return
    table = Table(box=None)
    for column in ("slot", "transaction", "at", "reason", "detail"):
        table.add_column(column, overflow="fold")
    for row in rows:
        at = "whole" if row.outer < 0 else f"{row.outer}.{row.inner}.{row.ordinal}"
        table.add_row(str(row.slot), row.signature, at, row.reason, row.detail or "")
    Console().print(table)


def _ask(settings: Settings, question: Callable[[UnitOfWork], Awaitable[Answer]]) -> Answer:
    async def asking() -> Answer:
        db = Database(settings.database.url, pool_size=1, application="hae chain")
        try:
            async with db.unit() as uow:
                return await question(uow)
        finally:
            await db.close()

    return run(lambda stop: asking())


def _names(settings: Settings) -> dict[str, str]:
    solana = settings.solana
    return {
        solana.node_registry_program_id: "node_registry",
        solana.job_receipt_program_id: "job_receipt",
        solana.payment_splitter_program_id: "payment_splitter",
    }


def _plain(row: QuarantineRow) -> dict[str, object]:
    return asdict(row) | {"raw": base64.b64encode(row.raw).decode()}


def _show(found: ChainStatus, names: dict[str, str]) -> None:
    console = Console()
    if not found.programs:
        console.print("nothing was read yet: start `hae listener`")
        return
    led = f"led by {found.holder or 'nobody'}, epoch {found.epoch}"
    seen = f", last seen {_ago(found.seen_at)}" if found.seen_at else ""
    console.print(f"tip {found.tip_slot:,}, finalized {found.finalized_slot:,}; {led}{seen}")
    table = Table(box=None)
    for column in ("program", "cursor", "lag", "waiting", "moved", ""):
        table.add_column(column, overflow="fold")
    for program in found.programs:
        table.add_row(
            names.get(program.program, program.program),
            f"{program.slot:,} {(program.signature or '-')[:12]}",
            f"{program.lag_slots:,} slots",
            f"{program.pending_signatures:,}",
            _ago(program.moved_at) if program.moved_at else "never",
            f"stalled: {program.stalled}" if program.stalled else "",
        )
    console.print(table)
    for title, counts in (("events", found.events), ("quarantine", found.quarantine), ("outgoing", found.outgoing)):
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"
        console.print(f"{title}: {told}")


def _ago(at: datetime) -> str:
    seconds = int((datetime.now(UTC) - at).total_seconds())
    return f"{max(seconds, 0)} s ago" if seconds < 120 else f"{seconds // 60} min ago"
