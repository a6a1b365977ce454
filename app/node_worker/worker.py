"""One node's life: register, poll for offers, answer them, run jobs, drain."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from app.node_worker.client import NodeApi, NodeApiError, RefusedError
from app.node_worker.config import NodeConfig, draw
from app.node_worker.connections import Connections
from app.node_worker.decisions import WILFUL, Standing, reason_to_decline
from app.node_worker.executors import build_executor
from app.node_worker.run import JobRun
from app.node_worker.stats import NodeStats
from app.node_worker.wire import Description, Offer

_SHUT_DOWN = "the node was shut down before the job was finished"
# A poll counts as a heartbeat: polls shorter than the interval make heartbeats of their own unnecessary.
_POLL_SHARE = 0.8
_DRAIN_PATIENCE_S = 5.0
_LAST_WORDS_S = 5.0
_REFUSED_PAUSE_S = 5.0

logger = logging.getLogger(__name__)


class Worker:
    """One node on shared connections, run once. Raises InvalidInput on an unknown executor."""

    def __init__(self, config: NodeConfig, connections: Connections, stats: NodeStats) -> None:
        self._config = config
        self._stats = stats
        self._executor = build_executor(config)
        self._api = NodeApi(connections.channel(config.server_url), config.api_key)
        self._clock = asyncio.get_running_loop().time
        self._node_id = ""
        self._interval_s = 0.0
        self._heard_from = 0.0
        self._beaten = 0.0
        self._used = 0
        self._refused = 0
        self._accepted = 0
        self._draining = False
        self._vanished = False
        self._polling: asyncio.Task[list[Offer]] | None = None
        self._runs: dict[asyncio.Task[None], JobRun] = {}

    async def run(self, stop: asyncio.Event) -> int:
        """Work until ``stop`` is set, then drain. The exit code: 0, or 1 when the server refuses the node.

        Cancelling it drops everything at once, running jobs included.
        """
        tasks: list[asyncio.Task[None]] = []
        stopping = asyncio.create_task(stop.wait())
        try:
            tasks.append(asyncio.create_task(self._register(started=True)))
            await asyncio.wait({stopping, tasks[0]}, return_when=asyncio.FIRST_COMPLETED)
            if not tasks[0].done():
                return 0
            tasks[0].result()
            polls = asyncio.create_task(self._take_offers())
            tasks += [polls, asyncio.create_task(self._send_heartbeats())]
            await asyncio.wait({stopping, polls}, return_when=asyncio.FIRST_COMPLETED)
            if polls.done():
                polls.result()
            else:
                await self._drain(polls)
            return 0
        except NodeApiError as exc:
            logger.error("node %s: %s", self._config.wallet, exc)
            return 1
        finally:
            leftovers = [stopping, *tasks, *self._runs]
            for task in leftovers:
                task.cancel()
            await asyncio.gather(*leftovers, return_exceptions=True)
            await self._executor.close()

    async def _register(self, *, started: bool) -> None:
        config = self._config
        description = Description(
            wallet=config.wallet,
            gpu_model=config.gpu_model,
            gpus=config.gpus,
            vram_gb=config.vram_gb,
            capabilities=list(config.capabilities),
            region=config.region,
            price_per_gpu_hour_hyper=config.price_per_gpu_hour_hyper,
            capacity=config.slots,
            fresh=started,
        )
        known = await self._api.register(description)
        self._node_id, self._interval_s = known.node_id, max(known.heartbeat_interval_s, 1.0)
        if started and known.state == "draining":
            # Left over from this node's last shutdown; who starts a worker wants it to work.
            await self._api.resume(self._node_id)
        self._stats.registered += 1
        logger.info("node %s registered as %s", config.wallet, self._node_id)

    async def _take_offers(self) -> None:
        wait_s = max(1, int(min(self._config.poll_wait_s, self._interval_s * _POLL_SHARE)))
        # Nodes that start together would go on polling together.
        first_wait_s = int(wait_s * draw(0, "stagger", self._config.wallet))
        offers = await self._poll(first_wait_s)
        while True:
            # Answered before the next poll, which would repeat them at once.
            await asyncio.gather(*map(self._answer, offers))
            if self._draining or self._vanished:
                return
            offers = await self._poll(wait_s)

    async def _poll(self, wait_s: int) -> list[Offer]:
        self._heard_from = self._clock()
        self._polling = asyncio.create_task(self._api.offers(self._node_id, wait_s))
        try:
            return await self._polling
        except RefusedError as exc:
            if exc.status in (401, 403):
                raise
            logger.warning("node %s: %s", self._config.wallet, exc)
            if exc.status == 404:
                await self._register(started=False)
            else:
                await asyncio.sleep(_REFUSED_PAUSE_S)
            return []
        except asyncio.CancelledError:
            self._polling.cancel()
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            # Only the poll was cancelled, by _drain.
            return []
        finally:
            self._polling = None

    async def _answer(self, offer: Offer) -> None:
        standing = Standing(self._config.slots - self._used, self._draining, self._refused)
        reason = reason_to_decline(offer, self._config, standing)
        try:
            if reason is None:
                await self._accept(offer)
            else:
                self._refused += reason == WILFUL
                await self._api.decline(self._node_id, offer.offer_id, reason)
                self._stats.declined += 1
                logger.info("offer %s declined: %s", offer.offer_id, reason)
        except NodeApiError as exc:
            logger.info("offer %s: too late or not answered: %s", offer.offer_id, exc)

    async def _accept(self, offer: Offer) -> None:
        self._used += offer.gpus
        try:
            await self._api.accept(self._node_id, offer.offer_id, offer.lease_token)
        except BaseException:
            self._used -= offer.gpus
            raise
        self._stats.accepted += 1
        self._accepted += 1
        if self._accepted == self._config.behaviour.vanish_after:
            self._stats.vanished += 1
            self._vanished = True
            return
        free = partial(self._free, offer.gpus)
        run = JobRun(self._api, self._node_id, offer, self._executor, self._config, self._stats, free)
        task = asyncio.create_task(run.run())
        self._runs[task] = run
        task.add_done_callback(self._ended)

    def _free(self, slots: int) -> None:
        self._used -= slots

    def _ended(self, task: asyncio.Task[None]) -> None:
        run = self._runs.pop(task)
        exc = None if task.cancelled() else task.exception()
        if exc is not None:
            logger.error("job %s: its run broke", run.offer.job_id, exc_info=exc)

    async def _send_heartbeats(self) -> None:
        while True:
            # Only heartbeats tell which runs are to stop: while there are any, polls do not stand for them.
            last = self._beaten if self._runs else max(self._beaten, self._heard_from)
            pause = last + self._interval_s - self._clock()
            if pause > 0.0:
                await asyncio.sleep(pause)
                continue
            self._beaten = self._clock()
            running = {run.offer.offer_id: run for run in self._runs.values() if run.offer.lease_token}
            try:
                # Slots in use stand for the GPUs' load, which only the operator's own tools could measure.
                load = 100 * self._used // self._config.slots
                status = await self._api.heartbeat(self._node_id, load, list(running))
            except NodeApiError as exc:
                logger.debug("node %s: heartbeat: %s", self._config.wallet, exc)
                continue
            for offer_id in status.stop:
                if offer_id in running:
                    running[offer_id].look()

    async def _drain(self, polls: asyncio.Task[None]) -> None:
        logger.info("node %s drains: %d jobs running", self._config.wallet, len(self._runs))
        deadline = self._clock() + self._config.grace_s
        self._draining = True
        if self._polling is not None:
            self._polling.cancel()
        draining = asyncio.create_task(self._api.drain(self._node_id, patience_s=_DRAIN_PATIENCE_S))
        try:
            # An accept on its way may still bring a job, so the answers come first.
            await asyncio.wait({polls}, timeout=self._config.grace_s)
            if self._runs:
                await asyncio.wait(self._runs, timeout=max(0.0, deadline - self._clock()))
            for run in self._runs.values():
                run.cut(_SHUT_DOWN)
            await asyncio.wait({draining, *self._runs}, timeout=_LAST_WORDS_S)
        finally:
            draining.cancel()
        if draining.done() and not draining.cancelled() and (exc := draining.exception()) is not None:
            logger.warning("node %s: drain: %s", self._config.wallet, exc)
