"""`hae demo`: the whole engine on a real trace."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from typing import Annotated

import psutil
import typer
from rich.console import Console

from app.cli.environment import CommandError, run
from app.demo.children import DemoError
from app.demo.play import Play
from app.demo.scenario import DEFAULT_JOBS, DEFAULT_SEED, DemoOptions, build
from app.demo.screen import Screen, Status
from app.demo.stage import staged
from app.demo.summary import Summary

_INTERRUPTED = 130


def add_to(cli: typer.Typer) -> None:
    cli.command()(demo)


def demo(
    jobs: Annotated[int, typer.Option(min=1, max=7064, help="Jobs of the trace to replay")] = DEFAULT_JOBS,
    nodes: Annotated[int, typer.Option(min=0, max=1213, help="Nodes of the trace; 0 = all 1,213")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; progress goes to stderr")] = False,
    keep: Annotated[bool, typer.Option(help="Leave it serving at the end, until Ctrl-C")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same nodes, jobs and misbehaviour")] = DEFAULT_SEED,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes that match at the same time")] = 1,
    kill_worker_at: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, hidden=True, help="Kill and restart the worker at this share")
    ] = None,
    kill_listener_at: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, hidden=True, help="The same for the listener")
    ] = None,
) -> None:
    """Replay a GPU cluster's trace through the whole engine, in real processes over real HTTP.

    It starts servers, a Solana chain, an API process, a worker, a listener and fleets of nodes of its own. Nodes are
    registered on chain, jobs are created and paid there; nodes decline, fail and die, some jobs are paid wrongly, the
    chain forks. Then the outcome is audited, against the trace and against the chain. Takes about a minute and leaves
    nothing behind. Exit code 1 when a requirement was violated, a node oversubscribed, a job lost, an event missed or
    a base unit off.
    """
    options = DemoOptions(
        jobs=jobs,
        nodes=nodes,
        seed=seed,
        keep=keep,
        workers=workers,
        kill_worker_at=kill_worker_at,
        kill_listener_at=kill_listener_at,
    )
    began = psutil.Process().create_time()
    logging.disable(logging.WARNING)
    try:
        code = run(lambda stop: _play(options, began, as_json, stop))
    except DemoError as error:
        raise CommandError(str(error)) from error
    raise typer.Exit(code)


async def _play(options: DemoOptions, began: float, as_json: bool, stop: asyncio.Event) -> int:
    """Perform until the end or until ``stop``; the exit code."""
    # A terminal that closes ends the demo like a Ctrl-C does.
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, stop.set)
    audited = asyncio.Event()
    performing = asyncio.create_task(_perform(options, began, as_json, stop, audited))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((performing, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not performing.done() and not audited.is_set():
        performing.cancel()
    await asyncio.wait((performing,))
    return _INTERRUPTED if performing.cancelled() else performing.result()


async def _perform(
    options: DemoOptions, began: float, as_json: bool, stop: asyncio.Event, audited: asyncio.Event
) -> int:
    console = Console(stderr=True)
    scenario = build(options)
    status = Status(jobs_total=len(scenario.submissions), nodes_total=len(scenario.nodes))
    with Screen(console, status, began) as screen:
        screen.note("PostgreSQL, Valkey, a chain and the engine start")
        async with staged(scenario) as stage:
            summary = await Play(options, scenario, stage, screen, began).run()
            audited.set()
            screen.close()
            _tell(summary, as_json)
            if options.keep:
                console.print(f"still serving on {stage.url} (API documents at /schema); Ctrl-C ends it")
                console.print(f"the chain: {stage.chain.url}", highlight=False)
                console.print(f"an agent's key: {stage.agent_keys[0]}", soft_wrap=True, highlight=False)
                await stop.wait()
    return 0 if summary.sound else 1


def _tell(summary: Summary, as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary.as_json()), flush=True)
    else:
        Console().print(summary.table())
