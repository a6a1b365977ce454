"""`hae verify`: whether the database holds together."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.asking import with_database
from app.cli.environment import CommandError, ConfigOption
from app.services.verify import Report, verify


def add_to(cli: typer.Typer) -> None:
    cli.command(name="verify")(verify_database)


def verify_database(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead")] = False,
    account: Annotated[str, typer.Option(help="Only the jobs of this account", show_default=False)] = "",
    since: Annotated[
        str, typer.Option(help="Only jobs submitted since then, such as 2026-11-01", show_default=False)
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Check the whole database from what is in it, and name everything that does not hold.

    The hash chain of every job's history, moves and attempts, offers and results, costs and payments of each job; slots
    of nodes, counts, positions of the feed. With --account or --since only the jobs' own part.

    It reads one snapshot and changes nothing; everything may go on running meanwhile. docs/reliability.md says what
    each check means and what it cannot see.

    Exit codes: 0 all holds, 1 something does not, 2 wrong usage.

    Example: hae verify --json
    """
    begin = _time(since)
    report = with_database(
        config, "verify", lambda db: verify(db, account=account or None, since=begin, told=_progress())
    )
    if as_json:
        print(json.dumps(asdict(report)))
    else:
        for line in _told(report):
            print(line)
    if report.found:
        raise typer.Exit(1)


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--since: there is no time {text[:40]!r}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


class _Line:
    """One line on a terminal, written over and over."""

    def __call__(self, done: int, about: int) -> None:
        end = "\n" if done >= about else ""
        sys.stderr.write(f"\rhae: {done:,} of about {about:,} jobs{end}")
        sys.stderr.flush()


def _progress() -> _Line | None:
    return _Line() if sys.stderr.isatty() else None


def _told(report: Report) -> list[str]:
    lines = [f"{one.check}: {one.id}: {one.detail}" for one in report.violations]
    if report.found > len(report.violations):
        lines.append(f"and {report.found - len(report.violations)} more")
    lines.append(
        f"{report.jobs} jobs, {report.rows} rows, {report.found} violations, {report.seconds} s"
        + ("" if report.whole else "; only the jobs' own part")
    )
    if report.cut:
        lines.append(f"{report.cut} jobs are older than the oldest history kept: taken from their first row that is")
    return lines
