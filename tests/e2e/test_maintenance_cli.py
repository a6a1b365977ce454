"""`hae maintenance` as people and cron run it: what it prints and how it ends."""

from __future__ import annotations

import asyncio
import json
import subprocess
from datetime import date

import pytest

from app.store import partitions
from app.store.db import Database
from tests.support.processes import run_hae

pytestmark = pytest.mark.e2e


def maintenance(database_url: str, redis_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_hae(database_url, redis_url, "maintenance", *arguments, env={"HAE_RETENTION_HISTORY_DAYS": "30"})


async def _with_an_old_month(database_url: str) -> None:
    db = Database(database_url)
    try:
        async with db.unit() as uow:
            await partitions.ensure_months(uow, [date(2020, 1, 1)])
    finally:
        await db.close()


def test_it_says_what_it_would_do_and_does_it(database_url: str, redis_url: str) -> None:
    asyncio.run(_with_an_old_month(database_url))
    planned = maintenance(database_url, redis_url, "--dry-run")
    assert (planned.returncode, planned.stderr) == (0, "")
    names = [f"{table}_2020_01" for table in ("deliveries", "events", "feed", "job_history")]
    assert planned.stdout.splitlines() == [f"would drop {name}" for name in names]
    done = maintenance(database_url, redis_url, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert sorted(told.pop("dropped")) == names
    assert told == {"dry_run": False, "made": [], "folded": 0, "forgotten": 0, "left": []}
