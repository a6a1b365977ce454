"""`hae audit`: decisions made again."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from app.cli.asking import with_database
from app.cli.environment import CommandError, ConfigOption
from app.core.errors import NotFound
from app.services.rerun import Outcome, Rerun, rerun


def add_to(cli: typer.Typer) -> None:
    cli.command()(audit)


def audit(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The job's id")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead")] = False,
    config: ConfigOption = None,
) -> None:
    """Make every decision of a job again from what was kept of it, and say whether it comes out the same.

    Each attempt's candidates are ranked anew with the code at hand, figure by figure, and the offer that followed is
    held against the choice. docs/explanations.md says what that shows and what it cannot.

    Exit codes: 0 identical, 1 differing, 2 wrong usage, such as a job that there is not.

    Example: hae audit job_01jd3k5m7p9r1t3v5x7z9b1d3f
    """
    try:
        found = with_database(config, "audit", lambda db: rerun(db, job_id))
    except NotFound as error:
        raise CommandError(error.detail) from error
    identical = all(one.outcome is Outcome.IDENTICAL for one in found)
    differing = any(one.outcome is Outcome.DIFFERING for one in found)
    if as_json:
        print(json.dumps({"job_id": job_id, "identical": identical, "decisions": [asdict(one) for one in found]}))
    else:
        for line in _told(job_id, found):
            print(line)
    if differing:
        raise typer.Exit(1)


def _told(job_id: str, found: list[Rerun]) -> list[str]:
    lines = []
    for one in found:
        what = one.node_id or one.verdict
        lines.append(f"attempt {one.attempt}, {one.at}, {what}: {one.outcome}")
        lines += [f"  {line}" for line in (*one.differences, *one.notes)]
    return lines or [f"{job_id}: no decision yet"]
