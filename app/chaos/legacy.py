"""Workers that speak the protocol that operators run today, quirks included, as far as an engine can see them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from app.chaos.calls import Recorder
from app.chaos.history import Op

HEARTBEAT_S = 1.0
POLL_S = 0.4
RESULT_TRIES = 5
_MACHINE = {
    "gpuModel": "NVIDIA GeForce RTX 4090",
    "vram": 24,
    "hostOS": "Linux 6.8",
    "location": {"country": "DE", "city": "Berlin"},
    "capabilities": ["inference", "generic_compute"],
}


class LegacyNode:
    """One worker: registers once, heartbeats beside its loop, runs one job at a time, tries a result five times.

    ``node_id``: as the engine named it. ``told``: its operations, which know no offers: those are filled in by job,
    attempt and node when the run is over. ``errors``: of the worker's own, of which there should be none.
    """

    def __init__(self, wallet: str, recorder: Recorder) -> None:
        self.wallet = wallet
        self.node_id = ""
        self.told: list[Op] = []
        self.errors: list[str] = []
        self._calls = recorder
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Register, and work until ``stop``."""
        self._spawn(self._work())

    async def stop(self) -> None:
        """Break off whatever it does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(f"{type(error).__name__}: {error}")

    async def _work(self) -> None:
        while not self.node_id:
            reply = await self._calls.caller.call(
                "POST", "/api/nodes/register", {"walletAddress": self.wallet, **_MACHINE}
            )
            if reply.outcome == "ok":
                self.node_id = reply.body["node"]["nodeId"]
            else:
                await asyncio.sleep(0.3)
        self._spawn(self._beat())
        while True:
            await asyncio.sleep(POLL_S)
            reply = await self._calls.caller.call("GET", f"/api/jobs/available?wallet={self.wallet}")
            if reply.outcome == "ok" and reply.body["job"] is not None:
                # Handing it out is the acceptance.
                job = reply.body["job"]
                self._note(self._op("accept", job), reply)
                await self._run(job)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            op = self._calls.op(kind="heartbeat", node_id=self.node_id)
            body = {"walletAddress": self.wallet, "status": "online"}
            await self._calls.call(op, "POST", "/api/nodes/heartbeat", body)

    async def _run(self, job: dict[str, Any]) -> None:
        await asyncio.sleep(float((job.get("input") or {}).get("run_s", 0.3)))
        body = {"nodeId": "current_node_id", "result": {"of": job["jobId"], "attempt": job["attempt"]}}
        for _ in range(RESULT_TRIES):
            reply = await self._calls.caller.call("POST", f"/api/jobs/{job['jobId']}/result", body)
            self._note(self._op("result", job), reply)
            if reply.outcome == "ok":
                return
            await asyncio.sleep(0.2)

    def _note(self, op: Op, reply: Any) -> None:
        self._calls.add(op, reply)
        self.told.append(op)

    def _op(self, kind: str, job: dict[str, Any]) -> Op:
        op: Op = self._calls.op(kind=kind, node_id=self.node_id, job_id=job["jobId"], attempt=job["attempt"])
        return op
