"""`hae jobs dead`: find jobs that the engine gave up looking at, and have it look again."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.table import Table

from app.cli.asking import with_database
from app.cli.environment import CommandError, ConfigOption
from app.cli.tables import show as show_table
from app.services import dead
from app.store.db import Database

dead_commands = typer.Typer(
    no_args_is_help=True,
    help="Dead letters: jobs that the engine failed on until it gave up looking at them. A job that is listed here "
    "stays as it is until it is requeued, or cancelled with `hae jobs cancel`.",
)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead")]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id")]
LimitOption = Annotated[int, typer.Option(min=1, max=1000, help="How many at most")]
Answer = TypeVar("Answer")


def print_json(value: Any) -> None:
    """Print a value, structs and dataclasses included, as one line of JSON."""
    print(msgspec.json.encode(value).decode())


@dead_commands.command("list")
def list_dead(limit: LimitOption = 50, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the jobs that were given up, newest first, with the last error of each."""
    from tools.answers import stamp

    found = with_database(config, "jobs", lambda db: dead.listing(db, "", limit))
    if as_json:
        print_json([{**msgspec.to_builtins(one), "since": stamp(one.since)} for one in found])
        return
    table = Table("id", "account", "state", "tries", "since", "error")
    for one in found:
        table.add_row(one.job_id, one.account, one.state, str(one.tries), stamp(one.since)[:19], one.error)
    show_table(table)


@dead_commands.command("show")
def show_dead(job_id: JobArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show what a job that was given up waits for, and each error. `hae jobs show` tells the rest.

    Example: hae jobs dead show job_01jd3k5m7p9r1t3v5x7z9b1d3f
    """
    from tools.answers import stamp

    found = with_database(config, "jobs", lambda db: dead.inspect(db, job_id))
    signals = [
        {
            "kind": one.kind,
            "tries": one.tries,
            "error": one.error or "",
            "due_at": stamp(one.due_at),
            "parked_at": stamp(one.parked_at),
        }
        for one in found.signals
    ]
    if as_json:
        print_json({"job_id": job_id, "account": found.job.account, "state": found.job.state, "signals": signals})
        return
    print(f"{job_id} of {found.job.account} is {found.job.state}, {found.job.reason}")
    for one in signals:
        where = f"parked {one['parked_at']}" if one["parked_at"] else f"due {one['due_at']}"
        print(f"  {one['kind']}: {where}, {one['tries']} tries {one['error']}".rstrip())


@dead_commands.command()
def requeue(
    job_ids: Annotated[list[str] | None, typer.Argument(metavar="JOB", help="Ids of jobs")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All of them")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Have the engine look at these jobs again, as if for the first time: once the cause is out of the way.

    Exit code 1 when a job named was not given up.

    Example: hae jobs dead requeue --all
    """
    if bool(job_ids) is all_:
        raise CommandError("name jobs, or say --all; not both")

    async def again(db: Database) -> tuple[list[str], list[str]]:
        requeued: set[str] = set()
        while True:
            done = await dead.requeue(db, job_ids or None)
            requeued.update(done.jobs)
            if not done.more:
                return sorted(requeued), done.untouched

    requeued, untouched = with_database(config, "jobs", again)
    if as_json:
        print_json({"requeued": len(requeued), "job_ids": requeued, "untouched": untouched})
    else:
        print(f"{len(requeued)} jobs are looked at again")
        for job_id in untouched:
            print(f"{job_id} was not given up")
    if untouched:
        raise typer.Exit(1)
