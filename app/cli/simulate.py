"""`hae simulate`: a network in virtual time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.cli.environment import CommandError, ConfigOption
from app.cli.simulating import INTERRUPTED, Progress, asked_rightly, chart, rules, stoppable, table
from app.matchmaker.policy import get_policy
from app.simulate.dice import PPM
from app.simulate.play import play
from app.simulate.results import Outcome
from app.simulate.synthetic import synthetic_jobs, synthetic_network
from app.simulate.traced import traced_jobs, traced_network
from app.simulate.workload import Behaviour, Scene

MOST = 4_000_000
"""Nodes, and jobs: beyond that the memory of usual machines ends."""


def add_to(cli: typer.Typer) -> None:
    cli.command()(simulate)


def simulate(
    nodes: Annotated[int, typer.Option(min=1, max=MOST, help="Nodes of the network")] = 1213,
    jobs: Annotated[int, typer.Option(min=1, max=MOST, help="Jobs that come to it")] = 7064,
    policy: Annotated[str, typer.Option(help="How nodes are ranked; see `hae policy list`")] = "reputation_weighted",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Same seed, same outcome")] = 1,
    trace: Annotated[
        bool, typer.Option("--trace/--synthetic", help="Drawn from a real GPU cluster's trace, or made up")
    ] = True,
    hours: Annotated[int, typer.Option(min=1, max=1000, help="Virtual hours in which the jobs come")] = 24,
    batch: Annotated[
        float, typer.Option(min=0.0, max=60.0, help="Virtual seconds over which jobs are gathered and placed together")
    ] = 0.0,
    decline: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the offers that nodes decline")] = 0.02,
    outages: Annotated[float, typer.Option(min=0.0, max=24.0, help="Outages of a node in a day, on average")] = 0.1,
    out: Annotated[
        Path | None, typer.Option(help="Directory to write results.json and chart.png to", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; progress goes to stderr")] = False,
    config: ConfigOption = None,
) -> None:
    """Play jobs on a network in virtual time: no servers, the engine's own index, policies and assignment.

    Jobs come, wait, run and end; nodes decline, fail and fall silent. Ctrl-C ends it with the figures so far and exit
    code 130.

    Example: hae simulate --nodes 100000 --jobs 100000 --policy spread --seed 7 --out /tmp/spread
    """
    _writable(out)
    with asked_rightly():
        get_policy(policy)
        behaviour = Behaviour(
            decline_ppm=round(decline * PPM), outages_ppm=round(outages * PPM), batch_ms=round(batch * 1000)
        )
        progress = Progress(jobs)
        with stoppable(progress):
            if trace:
                network, workload = traced_network(nodes, seed), traced_jobs(jobs, hours, seed)
            else:
                network, workload = synthetic_network(nodes, seed), synthetic_jobs(jobs, hours, seed)
            scene = Scene(network, workload, seed, behaviour, "trace" if trace else "synthetic")
            found = play(scene, policy, rules(config), progress.stopped)
    if out is not None:
        (out / "results.json").write_text(json.dumps(found.figures, indent=1) + "\n")
        chart([found], out / "chart.png")
    _tell(found, as_json)
    if not found.figures["complete"]:
        raise typer.Exit(INTERRUPTED)


def _writable(out: Path | None) -> None:
    """An hour's run must not end with a directory that cannot be made."""
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"cannot make the directory {out}: {error.strerror}") from error


def _tell(found: Outcome, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found.figures))
        return
    figures = found.figures
    jobs, wall = figures["jobs"], figures["wall"]
    console = Console()
    console.print(table([found], f"{figures['nodes']:,} nodes, {jobs['counted']:,} jobs"))
    console.print(
        f"{figures['virtual_s'] / 3600:.1f} virtual hours, {figures['utilisation_pct']:.2f} % of the slots in use: "
        f"{jobs['completed']:,} completed, {jobs['running']:,} still running, {jobs['failed']:,} failed, "
        f"{jobs['expired']:,} expired, of which {jobs['never_fits']:,} never fit",
        highlight=False,
    )
    console.print(
        f"in {wall['seconds']:,} s: {wall['jobs_per_s']:,.0f} jobs/s, a match {wall['match_us_p50']:.0f} us (p50), "
        f"{wall['match_us_p99']:.0f} us (p99), {wall['peak_memory_mb']:,.0f} MB at most",
        highlight=False,
    )
