"""`hae plan`: many jobs that belong together, in an order, within a budget, over the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.markup import escape
from rich.table import Column, Table

from app.cli.asking_api import (
    CODES,
    REFUSED,
    JsonOption,
    KeyOption,
    TimeoutOption,
    UrlOption,
    print_json,
    read_json,
    server,
)
from app.cli.environment import CommandError
from app.cli.plan_screen import follow, lines, task_table, unit_table
from app.cli.tables import show as show_table
from hae_client.models import PlanAnswer, SubmitPlan

commands = typer.Typer(
    no_args_is_help=True, help="Plans, many jobs within a budget, over the API: submit, show, watch, cancel, list."
)
PlanArgument = Annotated[str, typer.Argument(metavar="PLAN", help="The plan's id")]


def add_to(cli: typer.Typer) -> None:
    cli.add_typer(commands, name="plan")


@commands.command(epilog=CODES)
def submit(
    file: Annotated[str, typer.Argument(help="The plan as JSON; - = standard input")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check it, and say what it would come to")] = False,
    budget: Annotated[str, typer.Option(help="HYPER that it may cost at most, instead of the file's")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end")] = False,
    timeout_s: TimeoutOption = None,
    idempotency_key: Annotated[
        str, typer.Option(help="The same key and plan make one plan, however often this is run")
    ] = "",
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Submit a plan and print its id.

    Example: hae plan submit plan.json --dry-run
    """
    given = read_json(file)
    if not isinstance(given, dict):
        raise CommandError('a plan is a JSON object: {"tasks": [...], "budget_hyper": "2.5", ...}')
    # The server looks at what it holds, and says what is wrong better than could be said here.
    plan = cast("SubmitPlan", {**given, "budget_hyper": budget} if budget else given)
    with server(url, key, as_json=as_json) as client:
        made = client.submit_plan(plan, dry_run=dry_run, idempotency_key=idempotency_key)
        if wait and not made.dry_run:
            if not as_json:
                print(made.plan_id, flush=True)
            ended = follow(client, made.plan_id, timeout_s, quiet=as_json)
            if as_json:
                print_json(ended)
            _end(ended)
        elif as_json:
            print_json(made)
        elif made.dry_run:
            print("\n".join(lines(made)))
        else:
            print(made.plan_id)


@commands.command(epilog=CODES)
def show(
    plan_id: PlanArgument,
    units: Annotated[bool, typer.Option("--units", help="Also each unit of its work")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Only its tasks as a Mermaid graph")] = False,
    svg: Annotated[Path | None, typer.Option(help="Write its tasks as a drawing to this file; - = print it")] = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Show a plan: how far it is, what it has cost, what it will have cost, each of its tasks.

    Example: hae plan show plan_01jd3k5m7p9r1t3v5x7z9b1d3f --svg plan.svg
    """
    if (svg is not None) + mermaid + as_json > 1:
        raise CommandError("say one of --mermaid, --svg and --json")
    with server(url, key, as_json=as_json) as client:
        if svg is not None:
            _write(svg, client.draw_plan(plan_id))
            return
        plan = client.get_plan(plan_id, units=units)
    if as_json:
        print_json(plan)
    elif mermaid:
        print(plan.mermaid)
    else:
        print("\n".join(lines(plan)))
        show_table(task_table(plan))
        if units:
            show_table(unit_table(plan))


def _write(file: Path, content: str) -> None:
    if str(file) == "-":
        print(content)
        return
    try:
        file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror or error}") from error
    print(f"written: {file}")


@commands.command(epilog=CODES)
def watch(
    plan_id: PlanArgument,
    timeout_s: TimeoutOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Follow a plan to its end: units, cost so far, forecast, budget. With --json one object a change.

    Example: hae plan watch plan_01jd3k5m7p9r1t3v5x7z9b1d3f
    """
    with server(url, key, as_json=as_json) as client:
        ended = follow(client, plan_id, timeout_s, told=print_json if as_json else None)
        _end(ended)


@commands.command(epilog=CODES)
def cancel(plan_id: PlanArgument, as_json: JsonOption = False, url: UrlOption = None, key: KeyOption = None) -> None:
    """Ask for the end of a plan and of its jobs. One that is over stays as it is."""
    with server(url, key, as_json=as_json) as client:
        plan = client.cancel_plan(plan_id)
    print_json(plan) if as_json else print(f"{plan.plan_id} {plan.state}")


@commands.command("list", epilog=CODES)
def listing(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most")] = 20,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Show your plans, newest first."""
    with server(url, key, as_json=as_json) as client:
        page = client.list_plans(limit=min(limit, 100))
        found = page.plans
        while page.next_cursor and len(found) < limit:
            page = client.list_plans(cursor=page.next_cursor, limit=min(limit - len(found), 100))
            found += page.plans
    if as_json:
        print_json(found)
        return
    table = Table(
        Column("id", min_width=31), "name", "state", "units", Column("cost", min_width=11), "budget", "created"
    )
    for one in found:
        units = f"{one.units_over}/{one.units_total}"
        table.add_row(
            one.plan_id, escape(one.name), one.state, units, one.cost_hyper, one.budget_hyper, one.created_at[:10]
        )
    show_table(table)


def _end(plan: PlanAnswer) -> None:
    if plan.state != "completed":
        raise typer.Exit(REFUSED)
