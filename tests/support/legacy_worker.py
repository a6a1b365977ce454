"""The operators' present worker, as faithful as its protocol is known: blocking, in a thread, quirks included.

It registers once, heartbeats every ``heartbeat_s`` from a thread of its own, polls ``available``, runs one job at a
time in its polling loop, tries a result five times, and posts a failure once without looking at the answer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx

RESULT_TRIES = 5
MACHINE = {
    "gpuModel": "NVIDIA GeForce RTX 4090",
    "vram": 24,
    "driverVersion": "550.54.14",
    "cudaVersion": "12.4",
    "hostOS": "Linux 6.8",
    "cpuModel": "AMD Ryzen 9 7950X",
    "ramTotal": 65_536,
    "location": {"country": "DE", "city": "Berlin", "lat": 52.52, "lon": 13.4},
    "capabilities": ["inference", "training", "fine_tuning", "render", "vision", "cpu_compute"],
}


class LegacyWorker:
    """``work`` runs a job as ``available`` handed it out and returns its result; what it raises is a failure."""

    def __init__(
        self,
        url: str,
        token: str,
        wallet: str,
        work: Callable[[dict[str, Any]], Any],
        *,
        poll_s: float = 0.05,
        heartbeat_s: float = 0.2,
        machine: dict[str, Any] | None = None,
    ) -> None:
        self.wallet = wallet
        self.node_id = ""
        self.answers: list[tuple[str, int]] = []
        self.trouble: BaseException | None = None
        self._work = work
        self._machine = {**MACHINE, **(machine or {})}
        self._poll_s, self._heartbeat_s = poll_s, heartbeat_s
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
        )
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._guarded, args=(part,)) for part in (self._loop, self._beat)]

    async def __aenter__(self) -> LegacyWorker:
        await asyncio.to_thread(self._register)
        for thread in self._threads:
            thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._http.close()
        if self.trouble is not None:
            raise self.trouble

    def _register(self) -> None:
        answer = self.post("/api/nodes/register", {"walletAddress": self.wallet, **self._machine})
        assert answer.status_code in (200, 201), answer.text
        self.node_id = answer.json()["node"]["nodeId"]

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        answer = self._http.post(path, json=body)
        self.answers.append((path.rsplit("/", 1)[-1], answer.status_code))
        return answer

    def available(self) -> dict[str, Any] | None:
        answer = self._http.get("/api/jobs/available", params={"wallet": self.wallet})
        self.answers.append(("available", answer.status_code))
        job: dict[str, Any] | None = answer.json()["job"]
        return job

    def _guarded(self, part: Callable[[], None]) -> None:
        try:
            part()
        except BaseException as error:
            self.trouble = error

    def _beat(self) -> None:
        while not self._stop.wait(self._heartbeat_s):
            self.post("/api/nodes/heartbeat", {"walletAddress": self.wallet, "status": "online"})

    def _loop(self) -> None:
        while not self._stop.wait(self._poll_s):
            job = self.available()
            if job is not None:
                self._run(job)

    def _run(self, job: dict[str, Any]) -> None:
        path = f"/api/jobs/{job['jobId']}"
        try:
            result = self._work(job)
        except Exception as error:
            self.post(f"{path}/failure", {"error": str(error)})
            return
        body = {"nodeId": "current_node_id", "result": result, "logs": ["ran"], "metrics": {"seconds": 0.1}}
        for _ in range(RESULT_TRIES):
            if self.post(f"{path}/result", body).is_success:
                return
