"""`hae audit` as people run it: what it prints and how it ends."""

from __future__ import annotations

import asyncio
import json
import subprocess

import pytest

from app.store.db import Database
from tests import factories
from tests.factories import sql
from tests.support.processes import run_hae

pytestmark = pytest.mark.e2e


def audit(database_url: str, redis_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_hae(database_url, redis_url, "audit", *arguments)


async def matched(database_url: str) -> tuple[str, str]:
    """A job offered to a node; the ids of both."""
    db = Database(database_url)
    try:
        node_id = await factories.node(db)
        (job_id,) = await factories.submit(db)
        await factories.run_waves(factories.runner(db))
    finally:
        await db.close()
    return job_id, node_id


async def tamper(database_url: str) -> None:
    db = Database(database_url)
    try:
        await sql(db, "UPDATE match_decisions SET explanation = jsonb_set(explanation::jsonb, '{top,0,2}', '7')::json")
    finally:
        await db.close()


def test_an_audit_says_identical_or_differing(database_url: str, redis_url: str) -> None:
    job_id, node_id = asyncio.run(matched(database_url))
    same = audit(database_url, redis_url, job_id)
    assert (same.returncode, same.stderr) == (0, "")
    assert same.stdout.startswith("attempt 1, ")
    assert same.stdout.endswith(f"{node_id}: identical\n")
    asyncio.run(tamper(database_url))
    other = audit(database_url, redis_url, job_id, "--json")
    assert (other.returncode, other.stderr) == (1, "")
    told = json.loads(other.stdout)
    assert (told["job_id"], told["identical"], told["decisions"][0]["outcome"]) == (job_id, False, "differing")
    assert "score was 7, is" in told["decisions"][0]["differences"][0]
    nobody = audit(database_url, redis_url, "job_none")
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert nobody.stderr.startswith("hae: there is no job job_none")
