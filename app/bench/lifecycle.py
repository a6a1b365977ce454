"""How many jobs a second one process drives from submit to completed, every step committed.

The real services, the real job graph, the real wave loop and Postgres with fsync on. Only HTTP is left out: an agent
and the nodes are tasks of the same process that call the service layer, as the API's routes do after their batching.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from app.core.access import Principal
from app.core.requirements import JobType, Requirements
from app.matchmaker.matchmaker import Matchmaker
from app.services import jobs, nodes, offers
from app.services.jobs import Submission
from app.services.nodes import Registration
from app.services.views import ViewKeeper
from app.store.db import Database, Hints
from app.store.figures import network
from app.workers.queue import WaveLoop
from graphs.runtime import WaveLimits, WaveRunner
from tools.schemas import SubmitJob
from tools.specs import requirements_hash

BATCH = 256
SLOTS = 8
MODELS = ("a100", "h100", "rtx 4090", "t4")
PRINCIPAL = Principal("key_bench", "bench", frozenset({"agent", "node"}))


@dataclass(slots=True)
class Lifecycle:
    """One run. ``jobs`` completed in ``seconds``."""

    jobs: int
    seconds: float

    @property
    def jobs_per_s(self) -> float:
        return self.jobs / self.seconds


class _Bench:
    def __init__(self, url: str, count: int, node_count: int, in_flight: int) -> None:
        self.db = Database(url, pool_size=6, application="hae bench")
        self.count = count
        self.node_count = node_count
        self.in_flight = in_flight
        self.submitted = 0
        self.reported = 0
        self.views = ViewKeeper(self.db, Matchmaker(), 0.25)
        self.waves = WaveLoop(WaveRunner(self.db, self.views, WaveLimits(wave_size=BATCH)), 0.5)
        self.offered: set[str] = set()
        self.offers_made = asyncio.Event()
        self.room = asyncio.Event()
        self.stop = asyncio.Event()

    async def run(self) -> Lifecycle:
        for number in range(self.node_count):
            await nodes.register(self.db, PRINCIPAL, _node(number))
        await self.views.refresh()
        self.db.on_commit = self._hinted
        began = time.perf_counter()
        loop = asyncio.create_task(self.waves.run(self.stop))
        await asyncio.gather(self._agent(), self._nodes())
        await self._until_completed()
        seconds = time.perf_counter() - began
        self.stop.set()
        await loop
        await self.db.close()
        return Lifecycle(self.count, seconds)

    async def _hinted(self, hints: Hints) -> None:
        # In place of Valkey: the same hints, within the process.
        if hints.work:
            self.waves.wake()
        if hints.nodes:
            self.offered |= hints.nodes
            self.offers_made.set()

    async def _agent(self) -> None:
        while self.submitted < self.count:
            room = min(self.in_flight - (self.submitted - self.reported), self.count - self.submitted, BATCH)
            if room < min(BATCH, self.count - self.submitted):
                self.room.clear()
                await self.room.wait()
                continue
            await jobs.submit(self.db, [_submission(self.submitted + n) for n in range(room)])
            self.submitted += room

    async def _nodes(self) -> None:
        while self.reported < self.count:
            await self.offers_made.wait()
            self.offers_made.clear()
            asked, self.offered = self.offered, set()
            found = [one for some in (await offers.waiting(self.db, list(asked))).values() for one in some]
            for start in range(0, len(found), BATCH):
                batch = found[start : start + BATCH]
                answers = await offers.accept(self.db, [(one.id, one.node_id) for one in batch])
                reports = [
                    offers.new_report(one.id, one.node_id, ok=True, body={"text": "done", "tokens": 128})
                    for one, refused in zip(batch, answers, strict=True)
                    if refused is None
                ]
                refusals = [refused for refused in await offers.report(self.db, reports) if refused is not None]
                if refusals:
                    raise refusals[0]
                self.reported += len(reports)
                self.room.set()

    async def _until_completed(self) -> None:
        while True:
            async with self.db.unit() as uow:
                done = (await network(uow)).jobs_by_state.get("completed", 0)
            if done == self.count:
                return
            await asyncio.sleep(0.005)


def _node(number: int) -> Registration:
    return Registration(
        wallet=f"bench-{number}",
        gpu_model=MODELS[number % len(MODELS)],
        gpus=SLOTS,
        vram_gb=24 + 8 * (number % 4),
        capabilities=255,
        region="EU",
        price=100_000_000 + number,
        capacity=SLOTS,
        details={},
    )


def _submission(number: int) -> Submission:
    wants = Requirements(gpu_models=(MODELS[number % len(MODELS)],), min_vram_gb=24, capabilities=1)
    prompt = f"Explain quantum computing in {number} words"
    asked = SubmitJob(
        type=JobType.LLM_INFERENCE, model="qwen-7b", prompt=prompt, gpu_models=list(wants.gpu_models), min_vram_gb=24
    )
    return Submission(
        PRINCIPAL,
        "llm_inference",
        {"model": "qwen-7b", "prompt": prompt},
        wants,
        "reputation_weighted",
        0,
        3600,
        3,
        600,
        requirements_hash=requirements_hash(asked),
    )


async def measure(url: str, count: int, *, node_count: int = 256, in_flight: int = 1024) -> Lifecycle:
    """Drive ``count`` jobs through the migrated, empty database ``url``, ``in_flight`` at most at a time."""
    return await _Bench(url, count, node_count, in_flight).run()
