"""Between SIGTERM and the end of the server: unready, and still answering."""

from __future__ import annotations

import asyncio

import httpx

from app.http.server import run_server
from tests.support.live_engine import settings_for

FOREVER_S = 600.0


async def test_a_draining_process_is_unready_and_answers_all_the_same(database_url: str, redis_url: str) -> None:
    settings = settings_for(database_url, redis_url, server={"port": 0, "drain_s": FOREVER_S, "api_key": "k" * 32})
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run_server(settings, stop, port.set_result))
    try:
        headers = {"authorization": f"Bearer {settings.server.api_key}"}
        async with asyncio.timeout(30), httpx.AsyncClient(headers=headers, trust_env=False) as client:
            url = f"http://127.0.0.1:{await port}"
            assert (await client.get(f"{url}/readyz")).json() == {"ready": True, "database": "ok", "valkey": "ok"}
            stop.set()
            unready = await client.get(f"{url}/readyz")
            assert (unready.status_code, unready.headers["retry-after"]) == (503, "1")
            assert unready.json() == {"ready": False, "database": "ok", "valkey": "ok"}
            # A client that has not heard of it, on a connection of its own.
            async with httpx.AsyncClient(headers=headers, trust_env=False) as other:
                job = await other.post(f"{url}/v1/jobs", json={"type": "render"})
                assert job.is_success
                assert (await other.get(f"{url}/v1/jobs/{job.json()['job_id']}")).json()["state"] == "pending"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
