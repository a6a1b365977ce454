"""The real langgraph-sdk on an engine of a test."""

from __future__ import annotations

import asyncio
from typing import Any

from langgraph_sdk.client import LangGraphClient as Sdk

from tests.http.catalogue import JOB
from tests.http.conftest import as_
from tests.support.live_engine import Hae

__all__ = ["AGENT", "Sdk", "a_job", "sdk", "some_thread", "under_way", "watching"]

AGENT = "agent"


def sdk(hae: Hae, name: str = "alice", url: str = "") -> Sdk:
    """A client of a key made by make_keys, on the engine's own connections, so that it is closed with the engine."""
    http = hae.client(**{"x-api-key": hae.secrets[name], **({"x-other": url} if url else {})})
    if url:
        http.base_url = url
    return Sdk(http)


async def a_job(hae: Hae, name: str = "alice") -> str:
    """A job that no node will take."""
    body = {**JOB, "gpu_models": ["nobody-has-this"]}
    job_id: str = (await as_(hae, name).post("/v1/jobs", json=body)).json()["job_id"]
    return job_id


async def some_thread(client: Sdk) -> str:
    return (await client.threads.create())["thread_id"]


def watching(job_id: str, wait_s: float = 45) -> Any:
    """A call that waits."""
    return {"tool": "watch_job", "arguments": {"job_id": job_id, "wait_s": wait_s}}


async def under_way(client: Sdk, thread_id: str, run_id: str, steps: int = 0) -> None:
    """Waits until a run has started, and ``steps`` of its calls have ended."""
    async with asyncio.timeout(30):
        async for part in client.runs.join_stream(thread_id, run_id, stream_mode="values"):
            if part.event == "values" and sum(call["status"] != "waiting" for call in part.data["calls"]) >= steps:
                return
