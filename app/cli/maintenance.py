"""`hae maintenance`: what has to be done about a growing database now and then."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from app.cli.asking import with_database
from app.cli.environment import ConfigOption
from app.services.maintenance import Done, plan, run
from app.settings import load

TRIES = 10


def add_to(cli: typer.Typer) -> None:
    cli.command()(maintenance)


def maintenance(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done")] = False,
    config: ConfigOption = None,
) -> None:
    """Make the partitions of the coming months, drop those that are older than they are to be kept, merge counts.

    Histories of jobs, events, their feed and deliveries are kept in partitions of a month each. A month is dropped as a
    whole, at once, when all of it is older than the settings say (retention.history_days, retention.events_days,
    retention.deliveries_days; 0 = for ever) and nothing needs it any more: pending deliveries, events that the webhooks
    have yet to see and histories of jobs that are not over stay. Histories of plans that are over, and what API keys
    spent on past days, are deleted after retention.history_days, too.

    Workers do the same every hour: the command is for databases whose workers may not change tables, for a look ahead
    (--dry-run) and after a change of the settings. It is safe at any time, beside anything, and as often as you like;
    what is in use is tried again for some seconds and then left for the next time.

    Exit codes: 0 done, 1 something had to be left.

    Examples: hae maintenance --dry-run; HAE_RETENTION_EVENTS_DAYS=30 hae maintenance --json
    """
    retention = load(config).retention
    done = with_database(
        config, "maintenance", lambda db: plan(db, retention) if dry_run else run(db, retention, tries=TRIES)
    )
    if as_json:
        print(json.dumps({"dry_run": dry_run, **asdict(done)}))
    else:
        for line in _told(done, dry_run):
            print(line)
    if done.left:
        raise typer.Exit(1)


def _told(done: Done, dry_run: bool) -> list[str]:
    would = "would " if dry_run else ""
    lines = [f"{would}make {name}" if dry_run else f"made {name}" for name in done.made]
    lines += [f"{would}drop {name}" if dry_run else f"dropped {name}" for name in done.dropped]
    if done.folded:
        lines.append(f"{would}merge" if dry_run else "merged")
        lines[-1] += f" the changes of the counts: {done.folded} rows fewer"
    if done.forgotten:
        lines.append(f"{would}{'forget' if dry_run else 'forgot'} {done.forgotten} rows of plans and keys' days")
    return [*lines, *done.left] or ["nothing to do"]
