"""`hae jobs` as people run it: what it prints and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from app.services import schedules
from app.services.schedules import Plan
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, sql

pytestmark = pytest.mark.e2e


RUN = """
import contextlib, io, json, sys
from app.cli.main import main
told = []
for arguments in json.load(sys.stdin):
    sys.argv, out, code = ["hae", "jobs", *arguments], io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    told.append((code, out.getvalue()))
print(json.dumps(told))
"""
"""Runs command lines one after the other in one process: starting one for each would take most of the time."""


def run(database_url: str, redis_url: str, *lines: str) -> list[tuple[int, str]]:
    """What each `hae jobs` command line ended with, and printed."""
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env={**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "COLUMNS": "240"},
        input=json.dumps([line.split() for line in lines]),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [(code, text) for code, text in json.loads(done.stdout)]


async def made(database_url: str) -> list[str]:
    """Two jobs that wait, one that was given up, one that is cancelled; a schedule."""
    db = Database(database_url)
    try:
        ids = await factories.submit(db, 4)
        await sql(db, "UPDATE signals SET parked_at = now(), tries = 5, error = 'broke' WHERE job_id = $1", ids[2])
        await sql(db, "UPDATE jobs SET cancel_requested = true WHERE id = $1", ids[3])
        await factories.run_waves(factories.runner(db))
        await schedules.create(db, OWNER, Plan("nightly", "0 3 * * *", "UTC", "skip", {"type": "render"}))
    finally:
        await db.close()
    return ids


def test_jobs_are_found_cancelled_run_again_and_brought_back(database_url: str, redis_url: str) -> None:
    waiting, other, parked, over = asyncio.run(made(database_url))
    listed, table, shown, again, too_early, plans, dead, detail = run(
        database_url,
        redis_url,
        "list --state pending --json",
        "list",
        f"show {over}",
        f"rerun {over} --priority 9 --json",
        f"rerun {waiting}",
        "schedules --json",
        "dead list --json",
        f"dead show {parked}",
    )
    assert [job["job_id"] for job in json.loads(listed[1])] == [parked, other, waiting]
    assert over in table[1] and "acme" in table[1]
    assert "state: cancelled" in shown[1] and "(new) → pending  submitted, by key_owner" in shown[1]
    assert (too_early[0], "is pending and not over yet" in too_early[1]) == (1, True)
    (schedule,) = json.loads(plans[1])
    assert (schedule["name"], len(schedule["next_runs"])) == ("nightly", 5)
    (given_up,) = json.loads(dead[1])
    assert (given_up["job_id"], given_up["error"], given_up["tries"]) == (parked, "broke", 5)
    assert "submitted: parked" in detail[1]
    new = json.loads(again[1])["job_id"]
    told, requeued, not_dead, one, neither, rest = run(
        database_url,
        redis_url,
        f"show {new} --json",
        "dead requeue --all",
        f"dead requeue {parked}",
        f"cancel {waiting} job_none --json",
        "cancel",
        "cancel --state pending --json",
    )
    job = json.loads(told[1])
    assert (job["rerun_of"], job["priority"], job["account"]) == (over, 9, "acme")
    assert requeued == (0, "1 jobs are looked at again\n")
    assert not_dead == (1, f"0 jobs are looked at again\n{parked} was not given up\n")
    assert one[0] == 1
    assert json.loads(one[1]) == {"requested": 1, "job_ids": [waiting], "unknown": ["job_none"]}
    assert (neither[0], "not both" in neither[1]) == (2, True)
    assert json.loads(rest[1])["job_ids"] == [other, parked, new]
