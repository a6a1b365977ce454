"""Simulated nodes over the native node API, most of them well-behaved most of the time.

Now and then one accepts twice, or after the offer's expiry, meddles with another node's offer, reports a result after
a cancel or after it has lost the job, falls silent while its runs go on, or is never heard of again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from app.chaos.calls import Recorder, Reply
from app.chaos.history import History

HEARTBEAT_S = 1.0
POLL_S = 2
REPORT_PATIENCE_S = 20.0
_LATEST_ACCEPT_S = 1.5
_OVER = frozenset({404, 409, 410})


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node as it registers. ``region``: a continent, or empty."""

    wallet: str
    capacity: int
    region: str


class SimNode:
    """One node. ``doomed``: it falls silent for ever as soon as it runs anything; ``dead_at``: when it did.

    ``dead_jobs``: ``(job, attempt, its last sign of life)`` of the runs that it took with it. ``errors``: of the node's
    own, of which there should be none.
    """

    def __init__(self, spec: NodeSpec, recorder: Recorder, seed: str) -> None:
        self.spec = spec
        self.node_id = ""
        self.dead_at = 0.0
        self.dead_jobs: list[tuple[str, int, float]] = []
        self.errors: list[str] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.other = self
        """Another node, in whose name it calls at times."""
        self._calls = recorder
        self._chance = random.Random(seed)
        self._speaks = asyncio.Event()
        self._speaks.set()
        self.doomed = False
        self._heard = 0.0
        self._taken: set[str] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Register, and work until ``stop``."""
        self._main = asyncio.create_task(self._work())
        self._main.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Break off whatever it does."""
        tasks = [task for task in (self._main, *self._serving) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hush(self) -> None:
        """Fall silent: its runs go on, and it says nothing until ``speak``."""
        self._speaks.clear()

    def speak(self) -> None:
        """Undo ``hush``."""
        self._speaks.set()

    def doom(self) -> None:
        """Be never heard of again, from now on if it runs anything, else from its next run on."""
        self.doomed = True
        if self.runs:
            self._die()

    async def _work(self) -> None:
        while True:
            if await self._register(fresh=True):
                break
            await asyncio.sleep(0.3)
        beating = asyncio.create_task(self._beat())
        try:
            while not self.dead_at:
                await self._speaks.wait()
                await self._poll()
        finally:
            beating.cancel()

    async def _register(self, *, fresh: bool) -> bool:
        spec = self.spec
        told = {
            "wallet": spec.wallet,
            "gpu_model": "RTX 4090",
            "gpus": spec.capacity,
            "vram_gb": 24,
            "capabilities": ["inference", "generic_compute"],
            "region": spec.region,
            "price_per_gpu_hour_hyper": "0.1",
            "capacity": spec.capacity,
            "fresh": fresh,
        }
        reply = await self._calls.caller.call("POST", "/v1/node/register", told)
        if reply.outcome == "ok":
            self.node_id = reply.body["node_id"]
        return reply.outcome == "ok"

    async def _beat(self) -> None:
        while not self.dead_at:
            await asyncio.sleep(HEARTBEAT_S)
            if not self.runs or not self._speaks.is_set() or self.dead_at:
                continue
            op = self._calls.op(kind="heartbeat", node_id=self.node_id)
            body = {"gpu_utilization": None, "running": list(self.runs)}
            reply = await self._calls.call(op, "POST", self._path("heartbeat"), body)
            if reply.outcome == "ok":
                self._heard = reply.began

    async def _poll(self) -> None:
        path = self._path(f"offers?wait={POLL_S}")
        reply = await self._calls.caller.call("GET", path, timeout_s=POLL_S + 4.0)
        if reply.outcome == "ok":
            self._heard = reply.began
            for offer in reply.body["offers"]:
                if offer["offer_id"] not in self._taken:
                    self._taken.add(offer["offer_id"])
                    self._calls.add(self._op("offers", offer), reply)
                    self._spawn(self._serve(offer))
        elif reply.status == 404:
            await self._register(fresh=False)
        else:
            await asyncio.sleep(0.2)

    def _die(self) -> None:
        self.dead_at = History.now()
        self.dead_jobs = [(one["job_id"], one["attempt"], self._heard) for one in self.runs.values()]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._serving.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(f"{type(error).__name__}: {error}")

    async def _serve(self, offer: dict[str, Any]) -> None:
        draw = self._chance.random()
        if draw < 0.04:
            await self._send("decline", offer, {"reason": "chaos"})
            return
        note = ""
        if draw < 0.07:
            # Long enough that it is over, or is ending at this very moment.
            await asyncio.sleep(self._left_s(offer) + self._chance.choice((-0.02, 0.0, 0.3, _LATEST_ACCEPT_S)))
            note = "after_expiry"
        elif draw < 0.09:
            await self._meddle("accept", offer, None)
        if not await self._accept(offer, note, twice=0.09 <= draw < 0.17):
            return
        self.runs[offer["offer_id"]] = offer
        try:
            await self._run(offer)
        finally:
            self.runs.pop(offer["offer_id"], None)

    def _left_s(self, offer: dict[str, Any]) -> float:
        # By the server's two times, since clocks of the engine's processes may be wrong, and ours is another.
        created, expires = (msgspec.convert(offer[name], datetime) for name in ("created_at", "expires_at"))
        return max(0.0, (expires - created).total_seconds())

    async def _accept(self, offer: dict[str, Any], note: str, *, twice: bool) -> bool:
        if twice:
            replies = await asyncio.gather(
                self._send("accept", offer, None, note="double_accept"),
                self._send("accept", offer, None, note="double_accept"),
            )
            return any(reply.outcome == "ok" for reply in replies)
        return (await self._send("accept", offer, None, note=note)).outcome == "ok"

    async def _run(self, offer: dict[str, Any]) -> None:
        if self.doomed and not self.dead_at:
            self._die()
        left = float(offer["input"].get("input", {}).get("run_s", 0.3))
        reply = await self._send("progress", offer, {"percent": 1}, once=True)
        while left > 0 and not self._over(reply):
            step = min(left, 0.5)
            await asyncio.sleep(step)
            left -= step
            if self._chance.random() < 0.5 or not left:
                reply = await self._send("progress", offer, {"percent": 50}, once=True)
        await self._report(offer, reply)

    @staticmethod
    def _over(reply: Reply) -> bool:
        return reply.outcome == "fail" and reply.status in _OVER

    async def _report(self, offer: dict[str, Any], last: Reply) -> None:
        draw = self._chance.random()
        if self._over(last):
            cancelled = last.code == "cancel_requested"
            if cancelled and draw < 0.6:
                await self._send("failure", offer, {"error": "cancelled"})
            elif cancelled and draw < 0.8:
                # Its grace time runs out, so the report comes after the job's end.
                await asyncio.sleep(2.5)
            if draw > 0.6:
                await self._send(
                    "result", offer, {"result": "late"}, note="after_cancel" if cancelled else "after_loss"
                )
            return
        if draw < 0.03:
            await self._meddle("result", offer, {"result": "not mine"})
        if 0.03 <= draw < 0.09:
            await self._send("failure", offer, {"error": "failed by the suite"})
            return
        result = {"result": {"of": offer["job_id"], "attempt": offer["attempt"]}}
        await self._send("result", offer, result)
        if draw > 0.95:
            await self._send("result", offer, result, note="repeated")

    async def _meddle(self, action: str, offer: dict[str, Any], body: Any) -> None:
        """The same call in the name of another node, whose offer it is not."""
        other = self.other
        if other is not self and other.node_id:
            op = self._op(action, offer)
            op.node_id, op.note = other.node_id, "wrong_node"
            path = f"/v1/node/{other.node_id}/offers/{offer['offer_id']}/{action}"
            await self._calls.call(op, "POST", path, body)

    async def _send(
        self, action: str, offer: dict[str, Any], body: Any, *, note: str = "", once: bool = False
    ) -> Reply:
        await self._speaks.wait()
        if self.dead_at:
            await asyncio.Event().wait()
        token = offer.get("lease_token", 0)
        path = self._path(f"offers/{offer['offer_id']}/{action}")
        if token and action == "accept":
            path += f"?lease_token={token}"
        elif token and action != "decline":
            body = {**body, "lease_token": token}
        op = self._op(action, offer)
        op.note = note
        call = self._calls.call if once else self._calls.until_known
        reply = await call(op, "POST", path, body)
        if reply.outcome == "ok":
            self._heard = reply.began
        return reply

    def _op(self, action: str, offer: dict[str, Any]) -> Any:
        return self._calls.op(
            kind=action,
            node_id=self.node_id,
            offer_id=offer["offer_id"],
            job_id=offer["job_id"],
            attempt=offer["attempt"],
        )

    def _path(self, rest: str) -> str:
        return f"/v1/node/{self.node_id}/{rest}"
