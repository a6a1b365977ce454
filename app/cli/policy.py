"""`hae policy`: the policies there are, recordings of the network, and what each policy would have made of one."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from app.cli.asking import with_database
from app.cli.environment import CommandError, ConfigOption
from app.cli.simulating import INTERRUPTED, Progress, asked_rightly, chart, rules, stoppable, table
from app.demo.trace import load_nodes
from app.matchmaker.policy import POLICIES, get_policy, policies, policy_problems
from app.services import recording
from app.services.recording import Recording
from app.simulate.play import play, thinned
from app.simulate.recorded import recorded_jobs, recorded_network, recorded_outcome
from app.simulate.results import Outcome
from app.simulate.traced import busiest_hours, traced_network
from app.simulate.workload import Scene

commands = typer.Typer(no_args_is_help=True, help="Match policies: list, record, compare.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead")]


def add_to(cli: typer.Typer) -> None:
    cli.add_typer(commands, name="policy")


@commands.command("list")
def listing(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show all policies: the engine's own and those of installed packages (entry points `hae.match_policies`)."""
    with asked_rightly():
        network = rules(config).weights
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "summary": policy.summary,
            "weights": asdict(policy.weights_with(network)),
            "weights_from": "settings" if policy.weights is None else "policy",
            "built_in": name in POLICIES,
        }
        for name, policy in policies().items()
    ]
    if as_json:
        print(json.dumps({"policies": rows, "problems": list(policy_problems())}))
        return
    shown = Table("name", "summary", "weights", "from")
    for row in rows:
        weights = " ".join(f"{name} {weight}" for name, weight in row["weights"].items() if weight)
        shown.add_row(row["name"], row["summary"], weights, "engine" if row["built_in"] else "package")
    Console().print(shown)
    for problem in policy_problems():
        print(f"hae: {problem}", file=sys.stderr)


@commands.command()
def record(
    out: Annotated[Path, typer.Option(help="File to write, JSON lines")],
    hours: Annotated[int, typer.Option(min=1, max=1000, help="How far to go back from now")] = 1,
    config: ConfigOption = None,
) -> None:
    """Write the network's nodes and its last hours' jobs to a file, for `hae policy compare --recorded`.

    No payloads, accounts or wallets; API keys as hashes of their ids. The database is only read.
    """
    recorded = with_database(config, "policy", lambda db: recording.record(db, hours))
    try:
        with out.open("wb") as file:
            file.writelines(recording.lines(recorded))
    except OSError as error:
        raise CommandError(f"cannot write {out}: {error.strerror}") from error
    print(f"{len(recorded.nodes):,} nodes and {len(recorded.jobs):,} jobs of {hours} h in {out}")


@commands.command()
def compare(
    recorded: Annotated[
        Path | None, typer.Option(help="A file of `hae policy record`; without, a packaged trace", show_default=False)
    ] = None,
    hours: Annotated[int, typer.Option(min=1, max=1000, help="The busiest so many hours are replayed")] = 1,
    policy: Annotated[
        list[str] | None, typer.Option(help="Policy to compare, repeatable; without, all", show_default=False)
    ] = None,
    nodes: Annotated[
        int, typer.Option(min=0, help="Leave only so many of the nodes, to see them under pressure; 0 = all")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Same seed, same luck")] = 1,
    out: Annotated[Path | None, typer.Option(help="PNG file to draw the comparison to", show_default=False)] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Replay a recorded hour under several policies and show what each would have made of it.

    Example: hae policy record --out hour.jsonl; hae policy compare --recorded hour.jsonl --policy spread
    """
    with asked_rightly():
        names = list(dict.fromkeys(policy or policies()))
        for name in names:
            get_policy(name)
        kept = None if recorded is None else _read(recorded)
        if kept is None:
            network, workload, source = traced_network(len(load_nodes()), seed), busiest_hours(hours, seed), "trace"
        else:
            network, workload, source = recorded_network(kept), recorded_jobs(kept, hours), "recording"
        scene = Scene(thinned(network, nodes or len(network), seed), workload, seed, source=source)
        setup = rules(config)
        found: list[Outcome] = []
        for name in names:
            progress = Progress(len(workload), name)
            with stoppable(progress):
                found.append(play(scene, name, setup, progress.stopped))
            if progress.stop:
                break
    if out is not None:
        chart(found, out)
    was = None if kept is None else recorded_outcome(kept)
    if as_json:
        print(json.dumps({"source": source, "hours": hours, "seed": seed, "recorded": was} | _by_policy(found)))
    else:
        jobs = len(workload) - workload.warm
        Console().print(table(found, f"{len(scene.network):,} nodes, {jobs:,} jobs, {workload.warm:,} under way"))
        if was is not None:
            print("as recorded: {placed_pct} % placed, wait p50 {wait_s_p50} s, p99 {wait_s_p99} s".format(**was))
    if len(found) < len(names) or not found[-1].figures["complete"]:
        raise typer.Exit(INTERRUPTED)


def _by_policy(found: list[Outcome]) -> dict[str, Any]:
    return {"policies": [each.figures for each in found]}


def _read(path: Path) -> Recording:
    try:
        with path.open("rb") as file:
            return recording.read(file)
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
