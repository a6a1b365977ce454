"""`hae replay`: read the chain again from an earlier slot."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Annotated

import typer

from app.chain.configured import ChainSetup, chain_from
from app.chain.replay import ReplayReport, replay, slot_of
from app.chain.rpc import RpcError
from app.cli.environment import CommandError, ConfigOption, environment, run
from app.core.errors import Conflict, InvalidInput
from app.settings import Settings
from app.store.db import Database
from app.workers.listener import index_from, leadership_from, limits_from, rpc_from

NAMES = ("node_registry", "job_receipt", "payment_splitter")


def add_to(cli: typer.Typer) -> None:
    cli.command("replay")(replay_command)


def replay_command(
    program: Annotated[
        str,
        typer.Option(help="node_registry, job_receipt, payment_splitter, a program id, or all"),
    ] = "all",
    from_slot: Annotated[int | None, typer.Option(min=0, help="Slot to read from", show_default=False)] = None,
    from_signature: Annotated[
        str, typer.Option(help="Transaction to read from, instead of a slot", show_default=False)
    ] = "",
    from_start: Annotated[bool, typer.Option("--from-start", help="Read from the program's first transaction")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
    config: ConfigOption = None,
) -> None:
    """Read the chain again from an earlier slot, transaction or from the start, and index what is not known yet.

    Safe at any time and as often as you like: events that are in the tables are recognised and change nothing. Where
    a listener is running it is sent back to that slot and does the work; `hae chain status` shows how far it is.

    For example: `hae replay --from-start`, or `hae replay --program job_receipt --from-slot 250000000`.
    """
    if (from_slot is not None) + bool(from_signature) + from_start != 1:
        raise CommandError("say where to begin: one of --from-slot, --from-signature and --from-start")
    with environment(config, "replay", quiet=as_json) as settings:
        setup = chain_from(settings)
        chosen = _chosen(settings, setup, program)

        async def work(stop: asyncio.Event) -> ReplayReport:
            task = asyncio.create_task(_replay(settings, setup, chosen, from_slot, from_signature, as_json))
            told = asyncio.create_task(stop.wait())
            await asyncio.wait((task, told), return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            if not task.done():
                # Nothing is lost: what was committed counts, and the next listener goes on from there.
                task.cancel()
                await asyncio.wait((task,))
                raise CommandError("interrupted; a listener, or the same command again, goes on from here")
            return task.result()

        try:
            report = run(work)
        except InvalidInput as error:
            raise CommandError(error.detail) from error
        except RpcError as error:
            raise Conflict(f"the node refuses: {error}", code="chain_refused") from error
    if as_json:
        print(json.dumps(asdict(report)))
    elif report.by_leader:
        print(f"a listener leads and reads again from slot {report.from_slot}; see: hae chain status")
    else:
        print(f"{report.transactions:,} transactions read again from slot {report.from_slot}, ", end="")
        print(f"{report.new_events:,} events were new")


def _chosen(settings: Settings, setup: ChainSetup, program: str) -> list[str]:
    solana = settings.solana
    ids = dict(
        zip(
            NAMES,
            (solana.node_registry_program_id, solana.job_receipt_program_id, solana.payment_splitter_program_id),
            strict=True,
        )
    )
    if program == "all":
        return list(setup.programs.ids)
    found = ids.get(program, program)
    if found not in setup.programs.ids:
        raise CommandError(f"--program: {program[:60]!r} is none of {', '.join(NAMES)}, all, nor one of their ids")
    return [found]


async def _replay(
    settings: Settings,
    setup: ChainSetup,
    chosen: list[str],
    from_slot: int | None,
    from_signature: str,
    quiet: bool,
) -> ReplayReport:
    db = Database(settings.database.url, pool_size=4, application="hae replay")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(db.close)
        rpc = await stack.enter_async_context(rpc_from(settings, setup))
        slot = await slot_of(rpc, from_signature) if from_signature else (from_slot or 0)
        return await replay(
            db=db,
            leadership=leadership_from(settings),
            rpc=rpc,
            programs=setup.programs,
            index=index_from(settings, setup),
            chosen=chosen,
            from_slot=slot,
            limits=limits_from(settings),
            told=_silent if quiet or not sys.stderr.isatty() else _shown,
        )


def _silent(program: str, listed: int, read: int) -> None:
    return None


def _shown(program: str, listed: int, read: int) -> None:
    print(f"\r{program}: {listed:,} listed, {read:,} read ", end="", file=sys.stderr, flush=True)
