"""`hae verify` as people run it: what it prints and how it ends."""

from __future__ import annotations

import asyncio
import json
import subprocess

import pytest

from app.services import offers
from app.store.db import Database
from tests import factories
from tests.factories import sql
from tests.support.processes import run_hae

pytestmark = pytest.mark.e2e


def run_verify(database_url: str, redis_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_hae(database_url, redis_url, "verify", *arguments)


async def completed(database_url: str) -> str:
    """A completed job; its id."""
    db = Database(database_url)
    try:
        await factories.node(db)
        waves = factories.runner(db)
        (offer,) = await factories.accepted(db, waves)
        await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True)])
        await factories.run_waves(waves)
    finally:
        await db.close()
    return offer.job_id


async def tamper(database_url: str) -> None:
    db = Database(database_url)
    try:
        await sql(db, "UPDATE jobs SET cost = cost + 1")
    finally:
        await db.close()


def test_a_database_is_judged_and_nothing_is_hidden(database_url: str, redis_url: str) -> None:
    job_id = asyncio.run(completed(database_url))
    good = run_verify(database_url, redis_url, "--json")
    assert (good.returncode, good.stderr) == (0, "")
    told = json.loads(good.stdout)
    assert (told["jobs"], told["violations"], told["found"], told["whole"]) == (1, [], 0, True)
    assert told["rows"] > 6
    assert told["seconds"] > 0
    asyncio.run(tamper(database_url))
    bad = run_verify(database_url, redis_url, "--account", "acme", "--since", "2026-01-01")
    assert (bad.returncode, bad.stderr) == (1, "")
    first, last = bad.stdout.splitlines()
    assert first.startswith(f"job_cost: {job_id}: costs ")
    assert last.startswith("1 jobs, ")
    assert last.endswith("only the jobs' own part")
    wrong = run_verify(database_url, redis_url, "--since", "soon")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "hae: --since: there is no time 'soon'\n"
