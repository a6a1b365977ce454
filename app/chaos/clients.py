"""Clients that submit jobs, alone and in batches, send again what they do not know the outcome of, cancel and watch."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.chaos.calls import Recorder, Reply
from app.chaos.history import History, Op

ACCOUNTS = 4
SCARCE = "AF"
"""Where few nodes are: jobs that must run there compete for them."""
PATIENCE_S = 40.0
WATCH_S = 15.0
_BATCHES = (5, 12, 30)


@dataclass(frozen=True, slots=True)
class Order:
    """Jobs to submit in one call, ``due_s`` after the start. ``keyed``: each under an idempotency key.

    ``repeat``: sent again after it was acknowledged; ``cancel_s``: half are cancelled so long after that, -1: none;
    ``watch``: one is watched to its end. ``on_chain``: created on chain, too.
    """

    number: int
    due_s: float
    bodies: tuple[dict[str, Any], ...]
    keyed: bool
    repeat: bool
    cancel_s: float
    watch: bool
    on_chain: bool


def orders(seed: int, jobs: int, span_s: float) -> list[Order]:
    """What is submitted in a run: ``jobs`` jobs over ``span_s`` seconds, in an order of the seed's."""
    chance = random.Random(f"{seed} clients")
    made: list[Order] = []
    left = jobs
    while left:
        draw = chance.random()
        count = min(left, chance.choice(_BATCHES)) if draw < 0.06 else 1
        left -= count
        bodies = tuple(_body(chance, jobs - left - index) for index in range(count))
        made.append(
            Order(
                number=len(made),
                due_s=0.0,
                bodies=bodies,
                keyed=chance.random() < 0.9,
                repeat=chance.random() < 0.1,
                cancel_s=chance.choice((0.0, 0.3, 0.7, 1.5)) if chance.random() < 0.12 else -1.0,
                watch=chance.random() < 0.1,
                on_chain=count == 1 and chance.random() < 0.08,
            )
        )
    due = sorted(chance.uniform(0.0, span_s) for _ in made)
    return [replace(order, due_s=due_s) for order, due_s in zip(made, due, strict=True)]


def _body(chance: random.Random, number: int) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": "llm_inference",
        "model": "chaos",
        "prompt": f"job {number}",
        "input": {"run_s": round(chance.choice((0.1, 0.3, 0.5, 1.0)) * chance.uniform(0.8, 1.2), 3)},
        "priority": chance.randrange(3),
    }
    draw = chance.random()
    if draw < 0.12:
        body["region"] = SCARCE
    elif draw < 0.19:
        body["delay_s"] = 1
    elif draw < 0.21:
        body["deadline_s"] = 30
    elif draw < 0.24:
        body |= {"retry_backoff_s": 1, "exclude_nodes": "last"}
    return body


class Clients:
    """All of them: ``recorders``, each with a key of its own. ``submitted``: jobs whose submission has come to an end.
    ``refusals``: what refusals of good submissions said, of which there should be none.

    ``chain_wanted``: jobs to be created on chain, ``(job, requirements hash)``.
    """

    def __init__(self, seed: int, recorders: Sequence[Recorder]) -> None:
        self.submitted = 0
        self.refusals: list[str] = []
        self.chain_wanted: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._seed = seed
        self._recorders = recorders

    async def play(self, orders: Sequence[Order]) -> None:
        """Carry out all orders, each at its time; returns when every one is acknowledged, refused or given up."""
        began = History.now()
        async with asyncio.TaskGroup() as group:
            for order in orders:
                group.create_task(self._carry_out(order, began))

    async def _carry_out(self, order: Order, began: float) -> None:
        await asyncio.sleep(max(0.0, began + order.due_s - History.now()))
        recorder = self._recorders[order.number % len(self._recorders)]
        job_ids, spec_hash = await self._submit(recorder, order)
        self.submitted += len(order.bodies)
        if not job_ids:
            return
        if order.on_chain:
            self.chain_wanted.put_nowait((job_ids[0], spec_hash))
        if order.repeat and order.keyed:
            await self._submit(recorder, order)
        chance = random.Random(f"{self._seed} {order.number}")
        if order.cancel_s >= 0.0 and not order.on_chain:
            await asyncio.sleep(order.cancel_s)
            await self._cancel(recorder, chance.sample(job_ids, (len(job_ids) + 1) // 2))
        if order.watch:
            await self._watch(recorder, chance.choice(job_ids))

    async def _cancel(self, recorder: Recorder, job_ids: list[str]) -> None:
        """Cancel these jobs, several of them in one call, until the outcome is known."""
        give_up = History.now() + PATIENCE_S
        while True:
            if len(job_ids) == 1:
                reply = await recorder.caller.call("POST", f"/v1/jobs/{job_ids[0]}/cancel")
            else:
                reply = await recorder.caller.call("POST", "/v1/jobs:cancel", {"job_ids": job_ids})
            for job_id in job_ids:
                recorder.add(recorder.op(kind="cancel", job_id=job_id), reply)
            if reply.outcome != "unknown" or History.now() > give_up:
                return
            await asyncio.sleep(0.3)

    async def _submit(self, recorder: Recorder, order: Order) -> tuple[list[str], str]:
        """The acknowledged jobs' ids, and the last one's hash."""
        if len(order.bodies) > 1:
            return await self._submit_batch(recorder, order), ""
        key = self._key(order, 0)
        give_up = History.now() + PATIENCE_S
        while True:
            op = recorder.op(kind="submit", key=key)
            reply = await recorder.caller.call("POST", "/v1/jobs", order.bodies[0], key=key)
            if reply.outcome == "ok":
                op.job_id, op.state = reply.body["job_id"], reply.body["state"]
            recorder.add(op, reply)
            if reply.outcome == "fail":
                self.refusals.append(f"{reply.status} {reply.body}"[:300])
            if reply.outcome == "ok":
                return [op.job_id], reply.body["requirements_hash"]
            # Without a key nobody can ask again without maybe getting a second job.
            if reply.outcome == "fail" or not key or History.now() > give_up:
                return [], ""
            await asyncio.sleep(0.3)

    async def _submit_batch(self, recorder: Recorder, order: Order) -> list[str]:
        keys = [self._key(order, index) for index in range(len(order.bodies))]
        jobs = [body | ({"idempotency_key": key} if key else {}) for body, key in zip(order.bodies, keys, strict=True)]
        give_up = History.now() + PATIENCE_S
        while True:
            reply = await recorder.caller.call("POST", "/v1/jobs:batch", {"jobs": jobs})
            found = [self._note_item(recorder, reply, key, index) for index, key in enumerate(keys)]
            if reply.outcome == "fail":
                self.refusals.append(f"{reply.status} {reply.body}"[:300])
            if reply.outcome != "unknown" or not order.keyed or History.now() > give_up:
                return [job_id for job_id in found if job_id]
            await asyncio.sleep(0.3)

    def _note_item(self, recorder: Recorder, reply: Reply, key: str, index: int) -> str:
        op: Op = recorder.op(kind="submit", key=key)
        recorder.add(op, reply)
        if reply.outcome == "ok":
            item = reply.body["results"][index]
            if "problem" in item:
                op.outcome, op.code = "fail", item["problem"]["code"]
                self.refusals.append(str(item["problem"])[:300])
            else:
                op.job_id, op.state = item["job_id"], item["state"]
        return op.job_id

    def _key(self, order: Order, index: int) -> str:
        return f"chaos-{self._seed}-{order.number}-{index}" if order.keyed else ""

    async def _watch(self, recorder: Recorder, job_id: str) -> None:
        """Long-poll the job until it is over, or patience is."""
        give_up = History.now() + WATCH_S
        while History.now() < give_up:
            reply = await recorder.caller.call("GET", f"/v1/jobs/{job_id}/wait?wait_s=3", timeout_s=8.0)
            if reply.outcome == "ok" and reply.body["final"]:
                return
            if reply.outcome != "ok":
                await asyncio.sleep(0.3)
