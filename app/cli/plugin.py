"""`hae plugin`: the agent plugins there are, and whether one keeps the protocol."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent_plugins import loader
from agent_plugins.conformance import Result, check
from agent_plugins.loader import Loaded
from app.cli.environment import CommandError
from app.cli.tables import show as show_table
from app.core.errors import HaeError, sentences

commands = typer.Typer(no_args_is_help=True, help="Agent plugins: list, check.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead")]


def add_to(cli: typer.Typer) -> None:
    cli.add_typer(commands, name="plugin")


@commands.command("list")
def listing(as_json: JsonOption = False) -> None:
    """Show all plugins: the engine's own and those of installed packages (entry points `hae.agent_plugins`).

    One that cannot be used is named with the reason, and the exit code is 1.
    """
    found = loader.load()
    if as_json:
        print(json.dumps({"plugins": [_row(one) for one in found.plugins.values()], "problems": list(found.problems)}))
    else:
        shown = Table("name", "version", "summary", "paths", "from")
        for one in found.plugins.values():
            row = _row(one)
            source = "engine" if one.built_in else one.source
            shown.add_row(
                row["name"], row["version"], escape(row["summary"]), escape("\n".join(row["paths"])), escape(source)
            )
        show_table(shown)
        for problem in found.problems:
            print(f"hae: {problem}", file=sys.stderr)
    if found.problems:
        raise typer.Exit(1)


def _row(one: Loaded) -> dict[str, Any]:
    return {
        "name": one.plugin.name,
        "version": one.plugin.version,
        "summary": one.about.summary,
        "paths": [info.path for info in one.about.requests],
        "source": one.source,
        "built_in": one.built_in,
    }


@commands.command("check")
def checking(
    name: Annotated[str, typer.Argument(help="An installed plugin, or one at module:attribute", metavar="NAME")],
    as_json: JsonOption = False,
) -> None:
    """Run the conformance suite on a plugin. Exit codes: 0 it conforms, 1 it does not, 2 there is no such plugin.

    Examples: hae plugin check eliza; hae plugin check my_package.my_module:MyPlugin
    """
    # A plugin at module:attribute may lie in the directory where its author works.
    sys.path.insert(0, "")
    try:
        plugin = loader.load_one(name).plugin
    except HaeError as error:
        raise CommandError(sentences(error.detail, error.next_action)) from error
    results = check(plugin)
    failed = [one for one in results if not one.passed]
    if as_json:
        print(json.dumps(_report(plugin.name, plugin.version, results)))
    else:
        _show(results)
        verdict = "conforms" if not failed else f"does not conform: {len(failed)} of {len(results)} cases failed"
        print(f"{plugin.name} {plugin.version} {verdict}")
    if failed:
        raise typer.Exit(1)


def _report(name: str, version: str, results: list[Result]) -> dict[str, Any]:
    return {
        "plugin": name,
        "version": version,
        "conforms": all(one.passed for one in results),
        "cases": [
            {"area": one.case.area, "subject": one.case.subject, "passed": one.passed, "fault": one.fault}
            for one in results
        ],
    }


def _show(results: list[Result]) -> None:
    """A line an area, and under it what failed."""
    counts, passed = Counter(one.case.area for one in results), Counter(one.case.area for one in results if one.passed)
    console = Console(soft_wrap=True, highlight=False)
    for area, cases in counts.items():
        good = passed[area] == cases
        console.print(f"[{'green' if good else 'red'}]{'ok ' if good else 'no '}[/] {area}: {passed[area]} of {cases}")
        faults: dict[str, list[str]] = {}
        for one in results:
            if one.case.area == area and not one.passed:
                faults.setdefault(one.fault, []).append(one.case.subject)
        for fault, (first, *others) in faults.items():
            # One fault may fail a case for each kind of event.
            which = f"{first} and {len(others)} more" if others else first
            console.print(f"      {escape(which)}: {escape(fault)}")
