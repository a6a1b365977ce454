"""`hae devchain`: a Solana chain on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from app.chain.devchain import ChainConfig, DevChain, Served, serve
from app.chain.devchain.config import JOB_RECEIPT, NODE_REGISTRY, PAYMENT_SPLITTER
from app.cli.environment import CommandError, run
from app.settings import LogSettings
from app.telemetry import setup_logging

_DEFAULTS = {"node registry": NODE_REGISTRY, "job receipt": JOB_RECEIPT, "payment splitter": PAYMENT_SPLITTER}


def add_to(cli: typer.Typer) -> None:
    cli.command()(devchain)


def devchain(
    port: Annotated[
        int, typer.Option(min=0, max=65_534, help="HTTP port; WebSockets are on the next one. 0 takes a free pair")
    ] = 8899,
    slot_ms: Annotated[
        int, typer.Option(min=0, max=60_000, help="Length of a slot; 0 = only `devchain_advance` advances")
    ] = 400,
    program: Annotated[
        list[str] | None,
        typer.Option(
            help="Program id to deploy the event emitter at, or ID=FILE for an ELF of your own; repeatable. "
            "Instead of the network's three",
            show_default=False,
        ),
    ] = None,
    confirm_depth: Annotated[int, typer.Option(min=1, help="Slots until a block is confirmed")] = 1,
    finalize_depth: Annotated[int, typer.Option(min=1, help="Slots until it is finalized; no fork goes deeper")] = 31,
    archive: Annotated[bool, typer.Option(help="Word skipped slots as nodes with long-term storage do")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same blockhashes, faucet and faults")] = 0,
) -> None:
    """Run a local Solana chain: JSON-RPC and WebSocket on loopback, over a real SVM, for any Solana client.

    It starts empty, keeps everything in memory, and gives lamports to whoever asks (requestAirdrop). Real programs run
    on it; the network's three are stood in for by an emitter. What real nodes and providers do to their clients is on
    demand: forks, skipped slots, rate limits in all disguises, lag, dead sockets. docs/devchain.md has it all.

    Example: `hae devchain --slot-ms 100 &`, then point SOLANA_RPC_URL and SOLANA_WS_URL at what it prints, and

    `curl -s http://127.0.0.1:8899 -H 'content-type: application/json' -d '{"jsonrpc":"2.0","id":1,"method":
    "devchain_setFaults","params":[{"kind":"http_429","probability":0.2}]}'`
    """
    setup_logging(LogSettings(level="warning"), "devchain")
    try:
        config = ChainConfig(
            slot_ms=slot_ms,
            confirm_depth=confirm_depth,
            finalize_depth=finalize_depth,
            archive=archive,
            seed=seed,
            programs=_programs(program) if program else dict.fromkeys(_DEFAULTS.values()),
        )
        chain = DevChain(config)
    except ValueError as error:
        raise CommandError(str(error)) from error
    try:
        run(lambda stop: _serve(chain, port, stop))
    except OSError as error:
        raise CommandError(f"{error}; choose another --port, or 0 for a free pair") from error


async def _serve(chain: DevChain, port: int, stop: asyncio.Event) -> None:
    async with serve(chain, port=port) as served:
        _announce(served)
        await stop.wait()


def _announce(served: Served) -> None:
    names = {key: name for name, key in _DEFAULTS.items()}
    print(f"hae devchain serving on {served.url}  (WebSocket {served.ws_url})", flush=True)
    for key in served.chain.config.programs:
        print(f"program {key}{f'  ({names[key]})' if key in names else ''}", flush=True)
    if set(served.chain.config.programs) >= names.keys():
        print("For an engine that reads it (hae listener, hae up):", flush=True)
        settings = {"SOLANA_RPC_URL": served.url, "SOLANA_WS_URL": served.ws_url}
        settings |= {f"{name.upper().replace(' ', '_')}_PROGRAM_ID": key for name, key in _DEFAULTS.items()}
        print("export " + " ".join(f"{name}={value}" for name, value in settings.items()), flush=True)


def _programs(given: list[str]) -> dict[str, bytes | None]:
    programs: dict[str, bytes | None] = {}
    for each in given:
        key, _, path = each.partition("=")
        try:
            programs[key] = Path(path).read_bytes() if path else None
        except OSError as error:
            raise CommandError(f"--program {each}: {error.strerror}") from error
    return programs
