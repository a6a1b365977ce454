"""Recordings of the network, from the engine's rows to a comparison of policies."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from app.core.requirements import Requirements
from app.services import offers, recording
from app.services.recording import lines, read
from app.store.db import Database
from tests import factories
from tests.factories import sql


async def lived(db: Database) -> None:
    """Two nodes, six jobs: two completed, one failed, one running, one expired, one from before the hour."""
    cheap = await factories.node(db, gpus=4, capacity=4, price=10**9)
    await factories.node(db, gpus=4, capacity=4, region="NA")
    waves = factories.runner(db)
    given = await factories.accepted(db, waves, 4, max_retries=0)
    reports = [
        offers.new_report(offer.id, offer.node_id, ok=at < 2, body=f"{at}", error=None if at < 2 else "out of memory")
        for at, offer in enumerate(given)
    ]
    await offers.report(db, reports[:3])
    await factories.run_waves(waves)
    (hopeless,) = await factories.submit(db, requirements=Requirements(gpu_models=("h100",)), priority=2)
    await factories.run_waves(waves)
    await sql(db, "UPDATE jobs SET state = 'expired', finished_at = now() WHERE id = $1", hopeless)
    (old,) = await factories.submit(db)
    await sql(
        db,
        """UPDATE jobs SET state = 'completed', cost = 0, created_at = now() - interval '2 hours',
            finished_at = now() - interval '90 minutes' WHERE id = $1""",
        old,
    )
    await sql(db, "UPDATE nodes SET state = 'offline' WHERE id <> $1", cheap)


async def test_what_happened_is_recorded_without_names_and_payloads(db: Database) -> None:
    await lived(db)
    found = await recording.record(db, 1)
    assert read(lines(found)) == found
    written = b"".join(lines(found))
    for secret in (b"acme", b"key_owner", b"why", b"wallet"):
        assert secret not in written
    assert sorted(node.state for node in found.nodes) == ["offline", "online"]
    assert sorted(job.state for job in found.jobs) == ["assigned", "completed", "completed", "expired", "failed"]
    assert len({job.key for job in found.jobs}) == 1
    for job in found.jobs:
        assert 0 <= job.submit_ms <= 3_600_000
        assert (job.waited_ms is None) == (job.state == "expired")
        assert (job.ran_ms is None) == (job.state in ("assigned", "expired"))
        assert job.left_ms is None
    (expired,) = (job for job in found.jobs if job.state == "expired")
    assert expired.requirements == Requirements(gpu_models=("h100",))
    assert expired.priority == 2


async def test_jobs_that_were_under_way_when_the_hour_began_are_recorded(db: Database) -> None:
    await lived(db)
    ids = [row[0] for row in await sql(db, "SELECT id FROM jobs WHERE state = 'completed' AND assigned_at IS NOT NULL")]
    await sql(
        db,
        """UPDATE jobs SET created_at = now() - interval '80 minutes', assigned_at = now() - interval '70 minutes',
            finished_at = now() - interval '30 minutes' WHERE id = $1""",
        ids[0],
    )
    found = await recording.record(db, 1)
    (early,) = (job for job in found.jobs if job.submit_ms < 0)
    assert early.ran_ms == 40 * 60_000
    assert early.left_ms is not None
    assert abs(early.left_ms - 30 * 60_000) < 60_000


async def test_a_recorded_hour_is_compared_under_the_policies(
    db: Database, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    await lived(db)
    file, picture = tmp_path / "hour.jsonl", tmp_path / "hour.png"
    told = await hae(database_url, redis_url, "policy", "record", "--hours", "1", "--out", str(file))
    assert told.startswith(b"2 nodes and 5 jobs of 1 h")
    answer = await hae(
        database_url, redis_url, "policy", "compare", "--recorded", str(file), "--json", "--out", str(picture),
        "--policy", "cheapest", "--policy", "spread",
    )  # fmt: skip
    compared = json.loads(answer)
    assert compared["recorded"]["placed_pct"] == 80.0
    assert [each["policy"] for each in compared["policies"]] == ["cheapest", "spread"]
    for each in compared["policies"]:
        assert each["nodes"] == 1
        assert each["source"] == "recording"
        assert each["jobs"]["counted"] == 5
        assert each["jobs"]["never_fits"] == each["jobs"]["expired"] == 1
        assert each["placed_pct"] == 80.0
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


async def hae(database_url: str, redis_url: str, *arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", *arguments,
        env=os.environ | {"DATABASE_URL": database_url, "REDIS_URL": redis_url},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    answer, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return answer
