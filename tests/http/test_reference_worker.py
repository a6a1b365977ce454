"""The reference worker against the real node API: its jobs, its shutdown, its sudden death."""

from __future__ import annotations

import asyncio

import pytest

from app.node_worker import NodeConfig, run_fleet
from app.node_worker.config import Behaviour
from tests.http.catalogue import JOB
from tests.http.conftest import as_
from tests.support.live_engine import Hae, until_state

pytestmark = pytest.mark.asyncio(loop_scope="module")


def config(hae: Hae, wallet: str, gpu: str, behaviour: Behaviour | None = None) -> NodeConfig:
    return NodeConfig(
        server_url=hae.url,
        api_key=hae.secrets["miner"],
        wallet=wallet,
        gpu_model=gpu,
        price_per_gpu_hour_hyper="0.1",
        progress_interval_s=0.1,
        behaviour=behaviour or Behaviour(),
    )


async def submitted(hae: Hae, gpu: str) -> str:
    answer = await as_(hae, "alice").post("/v1/jobs", json={**JOB, "gpu_models": [gpu]})
    job_id: str = answer.json()["job_id"]
    return job_id


async def test_it_runs_jobs_and_drains(hae: Hae) -> None:
    stop = asyncio.Event()
    fleet = asyncio.create_task(run_fleet([config(hae, "reference-1", "ref 1")], stop))
    job_ids = [await submitted(hae, "ref 1") for _ in range(3)]
    for job_id in job_ids:
        job = await until_state(as_(hae, "alice"), job_id, ["completed"])
        assert job["result"]
    stop.set()
    assert await fleet == 0
    assert await hae.sql.fetchval("SELECT state FROM nodes WHERE wallet = 'reference-1'") == "draining"


async def test_what_a_killed_worker_ran_goes_on_when_it_is_started_again(hae: Hae) -> None:
    dying = config(hae, "reference-2", "ref 2", Behaviour(vanish_after=1))
    job_id = await submitted(hae, "ref 2")
    # Vanishing ends the worker without a word to the server, as SIGKILL does.
    assert await run_fleet([dying], asyncio.Event()) == 0
    job = await until_state(as_(hae, "alice"), job_id, ["assigned"])
    stop = asyncio.Event()
    other = asyncio.create_task(run_fleet([config(hae, "reference-3", "ref 2")], stop))
    # A job of its own shows that it is there before the first one is back.
    await until_state(as_(hae, "alice"), await submitted(hae, "ref 2"), ["completed"])
    again = asyncio.create_task(run_fleet([config(hae, "reference-2", "ref 2")], stop))
    done = await until_state(as_(hae, "alice"), job_id, ["completed"])
    assert done["attempt"] == 2
    assert done["node_id"] != job["node_id"]
    stop.set()
    assert list(await asyncio.gather(other, again)) == [0, 0]
