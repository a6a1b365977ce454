"""A full disk, an exhausted pool: requests get a 503, nothing is half done, and all works again once there is room."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.core.access import Scope
from app.core.errors import Unavailable
from tests.support.live_engine import Hae, Node, problem_of, running_engine, settings_for

JOB = {"type": "llm_inference", "prompt": "hi"}
FULL_AT_COMMIT = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
    CREATE CONSTRAINT TRIGGER full_disk AFTER INSERT OR UPDATE ON {table} DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION full_disk();
"""
ROOM_AGAIN = "DROP TRIGGER full_disk ON {table}; DROP FUNCTION full_disk()"


@pytest.fixture
async def engine(database_url: str, redis_url: str) -> AsyncIterator[Hae]:
    """One without a worker, and with two connections."""
    settings = settings_for(database_url, redis_url, database={"pool_size": 2, "pool_timeout_s": 0.2})
    async with running_engine(settings, worker=False) as hae:
        hae.secrets["all"] = await hae.key("acme", *Scope)
        yield hae


def client_of(hae: Hae) -> httpx.AsyncClient:
    return hae.client(hae.secrets["all"])


async def is_refused(answer: httpx.Response) -> None:
    told = problem_of(answer, 503, code="database_unavailable")
    assert told["next_action"] == "Try again in a moment; nothing was changed."
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_disk_that_is_full_at_the_commit_undoes_every_step_of_a_jobs_life(engine: Hae) -> None:
    """The server raises what it raises for a full disk, at the last moment of each transaction."""
    client = client_of(engine)
    node = await Node.register(client, "wallet", capabilities=["inference"])

    async def full(table: str) -> dict[str, str]:
        await engine.sql.execute(FULL_AT_COMMIT.format(table=table))
        return await engine.contents()

    async def room(table: str, before: dict[str, str]) -> None:
        assert await engine.contents() == before
        await engine.sql.execute(ROOM_AGAIN.format(table=table))

    before = await full("jobs")
    await is_refused(await client.post("/v1/jobs", json=JOB))
    await room("jobs", before)
    job_id = (await client.post("/v1/jobs", json=JOB)).json()["job_id"]

    before = await full("offers")
    with pytest.raises(Unavailable):
        await engine.settle()
    await room("offers", before)
    await engine.settle()
    offer_id = await node.next_offer()

    for action, body in (("accept", {}), ("result", {"result": "done"})):
        before = await full("signals")
        await is_refused(await node.say(offer_id, action, **body))
        await room("signals", before)
        assert (await node.say(offer_id, action, **body)).is_success
        before = await full("jobs")
        with pytest.raises(Unavailable):
            await engine.settle()
        await room("jobs", before)
        await engine.settle()

    job = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert (job["state"], job["attempt"]) == ("completed", 1)
    assert await engine.sql.fetchval("SELECT count(*) FROM signals WHERE error IS NOT NULL") == 0


@pytest.fixture
def small_disk(database_url: str) -> Iterator[Path]:
    """A file system of 2 MB that the server may write to; skipped where none can be mounted."""
    with tempfile.TemporaryDirectory(prefix="hae-full-") as directory:
        Path(directory).chmod(0o755)
        place = Path(directory) / "disk"
        place.mkdir()
        with mounted(place):
            yield place


@contextmanager
def mounted(place: Path) -> Iterator[None]:
    options = "size=2m,mode=0777"
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


async def test_a_real_full_disk_is_a_503_until_there_is_room(small_disk: Path, engine: Hae) -> None:
    owner = os.stat(await engine.sql.fetchval("SHOW data_directory"))
    place = small_disk / "space"
    place.mkdir()
    os.chown(place, owner.st_uid, owner.st_gid)
    name = f"small_{os.getpid()}"
    await engine.sql.execute(f"CREATE TABLESPACE {name} LOCATION '{place}'")
    try:
        for table in ("jobs", "offers"):
            await engine.sql.execute(f"ALTER TABLE {table} SET TABLESPACE {name}")
        client = client_of(engine)
        node = await Node.register(client, "wallet", capabilities=["inference"])
        before = await engine.contents()
        fill(small_disk)
        await is_refused(await client.post("/v1/jobs", json=JOB))
        assert await engine.contents() == before
        (small_disk / "filler").unlink()
        job_id = (await client.post("/v1/jobs", json=JOB)).json()["job_id"]

        before = await engine.contents()
        fill(small_disk)
        with pytest.raises(Unavailable):
            await engine.settle()
        assert await engine.contents() == before
        (small_disk / "filler").unlink()
        await engine.settle()
        offer_id = await node.next_offer()
        for action, body in (("accept", {}), ("result", {"result": "done"})):
            assert (await node.say(offer_id, action, **body)).is_success
            await engine.settle()
        assert (await client.get(f"/v1/jobs/{job_id}")).json()["state"] == "completed"
    finally:
        (small_disk / "filler").unlink(missing_ok=True)
        for table in ("jobs", "offers"):
            await engine.sql.execute(f"ALTER TABLE {table} SET TABLESPACE pg_default")
        await engine.sql.execute(f"DROP TABLESPACE {name}")


def fill(disk: Path) -> None:
    """Leave no room on it."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            return


async def test_an_exhausted_pool_is_a_503_and_passes(engine: Hae) -> None:
    client = client_of(engine)
    # Keys are remembered for a while: the first request is not the one to be refused.
    assert (await client.get("/v1/jobs/none")).status_code == 404
    before = await engine.contents()
    async with engine.engine.db.unit(), engine.engine.db.unit():
        await is_refused(await client.post("/v1/jobs", json=JOB))
        unready = await client.get("/readyz")
        assert (unready.status_code, unready.json()["database"]) == (503, "away")
        assert (await client.get("/livez")).status_code == 200
    assert await engine.contents() == before
    assert (await client.post("/v1/jobs", json=JOB)).is_success
    assert (await client.get("/readyz")).status_code == 200
