"""`hae chaos`: a whole engine of many processes under faults, and a checker of what came of it."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.chaos.bugs import BUGS
from app.chaos.engine import StartError
from app.chaos.faults import FAULTS
from app.chaos.history import History
from app.chaos.run import ChaosOptions, ChaosResult
from app.chaos.run import run as run_chaos
from app.cli.environment import CommandError, run
from app.demo.children import DemoError

DEFAULT_JOBS = 1500
_INTERRUPTED = 130


def add_to(cli: typer.Typer) -> None:
    cli.command()(chaos)


def chaos(
    seed: Annotated[int, typer.Option(min=0, help="What jobs, faults and misbehaviour are drawn from")] = 1,
    jobs: Annotated[
        int, typer.Option(min=1, max=20_000, help="Jobs that clients submit; with 1,500 every fault comes")
    ] = DEFAULT_JOBS,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Runs: seeds S, S+1, … each from scratch")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a run; progress goes to stderr")] = False,
    keep: Annotated[
        Path | None,
        typer.Option(help="Leave logs, recorded calls (JSON lines) and a database dump of each run there"),
    ] = None,
    faults: Annotated[str, typer.Option(hidden=True, help="Only these kinds of faults, separated by commas")] = "",
    bug: Annotated[str, typer.Option(hidden=True, help="Plant a bug, to see that the suite catches it")] = "",
) -> None:
    """Break everything that can break while jobs go through, and check that nothing was lost or done twice.

    It starts a PostgreSQL, a Valkey and a Solana chain of its own, three API processes, two workers and two listeners
    behind TCP fault proxies, 50 nodes, workers of the operators' present protocol and 20 webhook receivers. Processes
    are killed and hung, also while they recover; PostgreSQL is shut down in the middle of commits; Valkey is emptied;
    connections are cut, hang and drip; the chain forks; clocks jump by an hour; receivers and nodes misbehave.

    Every call is recorded with what its caller knows: acknowledged, refused, or unknown. Once all is healed, the record
    is held against the database and the chain. A violation reads `name: detail`. Same seed, same faults at the same
    times; how processes interleave is not repeated, so keep what a failed run left: `--keep DIR`.

    A run of 1,500 jobs takes two to three minutes on two cores. Exit code 1 when a run has violations.
    """
    kinds = tuple(filter(None, faults.split(",")))
    unknown = [kind for kind in kinds if kind not in FAULTS]
    if unknown:
        raise CommandError(f"unknown faults: {', '.join(unknown)}; known are {', '.join(FAULTS)}")
    if bug and bug not in BUGS:
        raise CommandError(f"there is no planted bug {bug}; there are {', '.join(BUGS)}")
    logging.disable(logging.WARNING)
    options = ChaosOptions(jobs=jobs, bug=bug, kinds=kinds, keep=keep)
    try:
        code = run(lambda stop: _until_stopped(seed, seeds, options, as_json, stop))
    except (StartError, DemoError) as error:
        raise CommandError(str(error)) from error
    raise typer.Exit(code)


async def _until_stopped(seed: int, seeds: int, options: ChaosOptions, as_json: bool, stop: asyncio.Event) -> int:
    """Run all seeds, or until ``stop``; the exit code."""
    running = asyncio.create_task(_all(seed, seeds, options, as_json))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not running.done():
        running.cancel()
        await asyncio.wait((running,))
    return _INTERRUPTED if running.cancelled() else running.result()


async def _all(seed: int, seeds: int, options: ChaosOptions, as_json: bool) -> int:
    console = Console(stderr=True)
    began = History.now()
    results = []
    for one in range(seed, seed + seeds):
        started = History.now()

        def note(line: str, one: int = one, started: float = started) -> None:
            console.print(f"[seed {one}] {History.now() - started:6.1f} s  {line}", markup=False, highlight=False)

        results.append(await run_chaos(one, options, note if console.is_terminal or not as_json else _quiet))
        _tell(results[-1], as_json)
    violations = sum(len(result.violations) for result in results)
    if seeds > 1:
        _tell_all(results, violations, History.now() - began, as_json)
    return 1 if violations else 0


def _quiet(line: str) -> None:
    """Progress is for people who watch."""


def _tell(result: ChaosResult, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result.as_json()), flush=True)
        return
    recovered = ", ".join(f"{name} {seconds} s" for name, seconds in result.recovery_s.items() if seconds is not None)
    print(
        f"seed {result.seed}: {result.jobs} jobs, {sum(result.faults.values())} faults of {len(result.faults)} kinds, "
        f"{len(result.violations)} violations, {result.seconds:.0f} s; recovered: {recovered or 'not measured'}"
    )
    for violation in result.violations:
        print(f"  {violation}")
    sys.stdout.flush()


def _tell_all(results: list[ChaosResult], violations: int, seconds: float, as_json: bool) -> None:
    slowest: dict[str, float] = {}
    for result in results:
        for name, took in result.recovery_s.items():
            if took is not None:
                slowest[name] = max(took, slowest.get(name, 0.0))
    summary = {
        "seeds": len(results),
        "jobs": sum(result.jobs for result in results),
        "failed_seeds": [result.seed for result in results if result.violations],
        "violations": violations,
        "recovery_s": slowest,
        "seconds": round(seconds, 1),
    }
    print(json.dumps(summary) if as_json else f"{len(results)} seeds: {summary}", flush=True)
