"""`hae jobs`: list, show, cancel and run jobs again; see schedules; `dead` is app/cli/jobs_dead.py."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Column, Table

from app.cli.asking_api import KeyOption, UrlOption
from app.cli.environment import CommandError, ConfigOption
from app.cli.jobs_dead import JobArgument, JsonOption, LimitOption, dead_commands, print_json
from app.cli.jobs_source import jobs_source
from app.cli.tables import show as show_table
from app.core.requirements import JobType
from app.core.states import JobState
from app.services.cancelling import Wanted
from app.services.repeating import Changes

commands = typer.Typer(
    no_args_is_help=True,
    help="Jobs: list, show, cancel, rerun, schedules. With --url or --key, or HYPERNODE_API_URL or HYPERNODE_API_KEY "
    "in the environment, those of the key's account, from the server; else those of every account, straight from "
    "the database. `dead` is about the database only.",
)
commands.add_typer(dead_commands, name="dead")

StateOption = Annotated[list[JobState] | None, typer.Option("--state", help="Only in this state; repeatable")]
TypeOption = Annotated[list[JobType] | None, typer.Option("--type", help="Only of this type; repeatable")]


def add_to(cli: typer.Typer) -> None:
    cli.add_typer(commands, name="jobs")


@commands.command("list")
def listing(
    state: StateOption = None,
    type_: TypeOption = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Show jobs, newest first.

    Example: hae jobs list --state pending --state offered --limit 20
    """
    states, types = [one.value for one in state or []], [one.value for one in type_ or []]
    found = jobs_source(url, key, config, as_json).listing(states, types, limit)
    if as_json:
        print_json([job for _, job in found])
        return
    table = Table(Column("id", min_width=30), "account", "type", "state", "reason", "attempt", "node", "created")
    for account, one in found:
        row = (one["type"], one["state"], one["reason"], str(one["attempt"]), one["node_id"], one["created_at"][:19])
        table.add_row(one["job_id"], account, *row)
    show_table(table)


@commands.command()
def show(
    job_id: JobArgument,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Show a job: what was asked, where it stands, every transition with its reason and who made it.

    Example: hae jobs show job_01jd3k5m7p9r1t3v5x7z9b1d3f
    """
    account, answer, moves = jobs_source(url, key, config, as_json).show(job_id)
    if as_json:
        print_json({**({"account": account} if account else {}), **answer, "transitions": moves})
        return
    if account:
        print(f"account: {account}")
    for name, value in answer.items():
        if value not in ("", None, [], {}):
            print(f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    print("transitions:")
    for move in moves:
        source, node = move["from_state"] or "(new)", f" on {move['node_id']}" if move["node_id"] else ""
        print(f"  {move['at']}  {source} → {move['to_state']}  {move['reason']}, by {move['actor']}{node}")


@commands.command()
def cancel(
    job_ids: Annotated[list[str] | None, typer.Argument(metavar="JOB", help="Ids of jobs")] = None,
    state: StateOption = None,
    type_: TypeOption = None,
    schedule: Annotated[str, typer.Option(help="Only those that this schedule made")] = "",
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Ask for the end of the jobs named, or of all that meet the options; a worker ends them.

    Jobs that are over stay as they are. Exit code 1 when a job named is not there.

    Example: hae jobs cancel --state pending --type render
    """
    wanted = Wanted(
        states=[one.value for one in state or []], types=[one.value for one in type_ or []], schedule_id=schedule
    )
    if bool(job_ids) is not wanted.empty:
        raise CommandError("name jobs, or say which with --state, --type or --schedule; not both")

    asked, unknown = jobs_source(url, key, config, as_json).cancel(job_ids or [], wanted)
    if as_json:
        print_json({"requested": len(asked), "job_ids": asked, "unknown": unknown})
    else:
        print(f"{len(asked)} jobs were asked to end")
        for job_id in unknown:
            print(f"there is no job {job_id}")
    if unknown:
        raise typer.Exit(1)


@commands.command()
def rerun(
    job_id: JobArgument,
    priority: Annotated[int | None, typer.Option(min=0, max=9, help="Instead of the one it had")] = None,
    timeout_s: Annotated[int | None, typer.Option(min=1, help="Longest run, instead of the one it had")] = None,
    queue_ttl_s: Annotated[int | None, typer.Option(min=1, help="Longest wait, instead of the one it had")] = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Run a job that is over once more, as a new job of its account; prints the new id.

    Example: hae jobs rerun job_01jd3k5m7p9r1t3v5x7z9b1d3f --priority 9
    """
    changes = Changes(priority=priority, timeout_s=timeout_s, queue_ttl_s=queue_ttl_s)
    made = jobs_source(url, key, config, as_json).rerun(job_id, changes)
    if as_json:
        print_json({"job_id": made, "rerun_of": job_id})
    else:
        print(made)


@commands.command("schedules")
def show_schedules(
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Show recurring jobs, newest first: when they are due, what they have made, what went wrong.

    Agents make and change them with /v1/schedules.
    """
    found = jobs_source(url, key, config, as_json).schedules(limit)
    if as_json:
        print_json([one for _, one in found])
        return
    table = Table("id", "account", "name", "cron", "zone", "next", "runs", "skipped", "last job", "error")
    for account, one in found:
        due = "paused" if one["paused"] else one["next_at"][:16]
        named = (one["schedule_id"], account, one["name"], one["cron"], one["timezone"], due)
        table.add_row(*named, str(one["runs"]), str(one["skipped"]), one["last_job_id"], one["error"])
    show_table(table)
