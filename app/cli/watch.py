"""`hae watch`: follow a job, or all jobs of a key, as it happens."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import typer

from app.cli.asking_api import (
    CODES,
    INTERRUPTED,
    REFUSED,
    TIMED_OUT,
    JsonOption,
    KeyOption,
    TimeoutOption,
    UrlOption,
    interruptible,
    print_json,
    server,
)
from app.cli.environment import CommandError
from hae_client import AsyncClient, Event

_SHOWN = ("state", "node_id", "attempt", "percent", "message", "reason", "cost_hyper", "error")


def add_to(cli: typer.Typer) -> None:
    cli.command(epilog=CODES)(watch)


def watch(
    job_id: Annotated[str, typer.Argument(metavar="[JOB]", help="The job's id; without it, all that happens")] = "",
    kind: Annotated[
        list[str] | None, typer.Option(help="Without a job: only these kinds, such as job_completed; repeatable")
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(
            min=0, help="From behind this position; a job's from the first, else from now", show_default=False
        ),
    ] = None,
    timeout_s: TimeoutOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Print the events of a job until it is over, or those of all your jobs until Ctrl-C. None is missed or told twice.

    With --json one object a line; its position can be passed to --after.

    Example: hae watch job_01jd3k5m7p9r1t3v5x7z9b1d3f
    """
    if job_id and kind:
        raise CommandError("--kind is for events of all jobs; leave JOB out")
    with server(url, key, as_json=as_json) as found:
        access = found.access

        async def follow() -> str:
            async with AsyncClient(access.url, access.key) as client, asyncio.timeout(timeout_s):
                if not job_id:
                    await _print(client.stream_all("latest" if after is None else after, kinds=kind or ()), as_json)
                    return ""
                await _print(client.stream(job_id, after or 0), as_json)
                return (await client.get(job_id)).state

        try:
            state = interruptible(follow())
        except TimeoutError:
            print("hae: not over yet", file=sys.stderr)
            raise typer.Exit(TIMED_OUT) from None
        except BrokenPipeError:
            raise typer.Exit(INTERRUPTED) from None
    if state != "completed":
        raise typer.Exit(REFUSED)


async def _print(events: AsyncGenerator[Event, None], as_json: bool) -> None:
    async with aclosing(events) as told:
        async for event in told:
            if as_json:
                print_json(event)
            else:
                shown = [f"{name}={event.data[name]}" for name in _SHOWN if event.data.get(name) not in (None, "")]
                print(f"{event.at[:19]}  {event.kind}  {event.job_id}  {' '.join(shown)}".rstrip(), flush=True)
