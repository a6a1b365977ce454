"""One accepted job: execute it, tell of its progress, deliver its report."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from app.node_worker.client import NodeApi, NodeApiError, RefusedError, lease_fields
from app.node_worker.config import NodeConfig
from app.node_worker.executors.base import Executor, Job, Outcome
from app.node_worker.stats import NodeStats
from app.node_worker.wire import Offer

# An executor that ignores being cancelled is left behind after this long.
_STOP_S = 5.0
_DROP_S = 1.0
_ERROR_MAX = 2000
_MESSAGE_MAX = 500
_CANCELLED = "cancelled"
_UNENCODABLE = (TypeError, ValueError, RecursionError, msgspec.MsgspecError)

logger = logging.getLogger(__name__)


class JobRun:
    """One attempt on this node. ``on_executed`` is called once, when the GPUs are free again."""

    def __init__(
        self,
        api: NodeApi,
        node_id: str,
        offer: Offer,
        executor: Executor,
        config: NodeConfig,
        stats: NodeStats,
        on_executed: Callable[[], None],
    ) -> None:
        self.offer = offer
        self._api = api
        self._node_id = node_id
        self._executor = executor
        self._config = config
        self._stats = stats
        self._on_executed = on_executed
        self._said = (0, "started")
        self._ended = False
        self._speak = asyncio.Event()
        self._halt = asyncio.Event()
        self._over = False
        self._cut: str | None = None

    async def run(self) -> None:
        """Return when the server has the report, refused it, or took the job away."""
        reporting = asyncio.create_task(self._tell_progress())
        try:
            try:
                outcome = await self._execute()
            finally:
                self._on_executed()
                self._ended = True
                self._speak.set()
            # A progress on its way is let through, so that the server never hears of one after the report.
            await asyncio.wait({reporting})
        finally:
            reporting.cancel()
            await asyncio.wait({reporting})
        if self._over:
            self._stats.taken_away += 1
            logger.info("job %s was taken away", self.offer.job_id)
            return
        if self._cut == _CANCELLED:
            self._stats.taken_away += 1
        await self._deliver(outcome)

    def cut(self, why: str) -> None:
        """Stop the work and report it as failed because of ``why``; no effect once the work has ended."""
        if self._ended:
            return
        self._cut = why
        self._halt.set()

    def look(self) -> None:
        """Tell of the progress now: the answer says whether the run is to go on."""
        self._speak.set()

    async def _execute(self) -> Outcome:
        if self._cut is not None:
            return Outcome.failure(self._cut)
        offer = self.offer
        job = Job(offer.offer_id, offer.job_id, offer.type, offer.input, offer.gpus, offer.timeout_s)
        work = asyncio.create_task(self._executor.run(job, self._say))
        halted = asyncio.create_task(self._halt.wait())
        try:
            await asyncio.wait({work, halted}, timeout=offer.timeout_s, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait({work}, timeout=_DROP_S)
            raise
        finally:
            halted.cancel()
        if work.done():
            return self._outcome(work)
        work.cancel()
        await asyncio.wait({work}, timeout=_STOP_S)
        if self._halt.is_set():
            return self._halted(work)
        return Outcome.failure(f"timed out after {offer.timeout_s:g} s")

    def _halted(self, work: asyncio.Task[Outcome]) -> Outcome:
        return self._outcome(work) if work.done() else Outcome.failure(self._cut or _CANCELLED)

    def _outcome(self, work: asyncio.Task[Outcome]) -> Outcome:
        if work.cancelled():
            return Outcome.failure(self._cut or "the run was cancelled")
        exc = work.exception()
        if exc is not None:
            logger.error("job %s: the executor raised", self.offer.job_id, exc_info=exc)
            return Outcome.failure(f"{type(exc).__name__}: {exc}")
        if self._config.behaviour.fails(self.offer.offer_id):
            return Outcome.failure("failed by the node's configured behaviour")
        return work.result()

    def _say(self, percent: int, message: str) -> None:
        self._said = (min(max(percent, 0), 100), message[:_MESSAGE_MAX])

    async def _tell_progress(self) -> None:
        offer = self.offer
        while True:
            self._speak.clear()
            try:
                await self._api.progress(self._node_id, offer.offer_id, *self._said, offer.lease_token)
            except RefusedError as exc:
                if exc.code == "cancel_requested":
                    logger.info("job %s is to be cancelled", offer.job_id)
                    self.cut(_CANCELLED)
                    return
                if exc.status in (404, 409, 410):
                    self._over = True
                    self._halt.set()
                    return
                logger.warning("job %s: progress refused: %s", self.offer.job_id, exc)
            except NodeApiError as exc:
                logger.debug("job %s: progress not delivered: %s", self.offer.job_id, exc)
            if not self._ended:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._speak.wait(), self._config.progress_interval_s)
            if self._ended:
                return

    async def _deliver(self, outcome: Outcome) -> None:
        action, body = encode_report(outcome, self.offer.lease_token)
        try:
            if action == "result":
                await self._send_result(body)
            else:
                await self._api.failure(self._node_id, self.offer.offer_id, body)
                self._stats.failed += 1
                logger.info("job %s failed: %s", self.offer.job_id, outcome.error)
        except NodeApiError as exc:
            self._stats.undelivered += 1
            logger.warning("job %s: the server refused the %s: %s", self.offer.job_id, action, exc)
        except asyncio.CancelledError:
            self._stats.undelivered += 1
            logger.error("job %s: its %s could not be delivered", self.offer.job_id, action)
            raise

    async def _send_result(self, body: bytes) -> None:
        try:
            await self._api.result(self._node_id, self.offer.offer_id, body)
        except RefusedError as exc:
            if exc.status not in (400, 413, 422):
                raise
            # The server takes no result like this one, however often it is sent: say so rather than time out.
            why = Outcome.failure(f"the server refused the result: {exc.code} {exc.detail}")
            body = encode_report(why, self.offer.lease_token)[1]
            await self._api.failure(self._node_id, self.offer.offer_id, body)
            self._stats.failed += 1
            logger.warning("job %s: the server refused the result: %s", self.offer.job_id, exc)
        else:
            self._stats.completed += 1
            logger.info("job %s completed", self.offer.job_id)


def encode_report(outcome: Outcome, lease_token: int = 0) -> tuple[str, bytes]:
    """The call that reports ``outcome`` (``result`` or ``failure``) and its body; always something encodable."""
    lease = lease_fields(lease_token)
    report: dict[str, Any] = {"logs": outcome.logs, "metrics": outcome.metrics, **lease}
    if outcome.error is None:
        try:
            return "result", msgspec.json.encode({"result": outcome.result, **report})
        except _UNENCODABLE as exc:
            return encode_report(Outcome.failure(f"the executor's result is no JSON: {exc}"), lease_token)
    # A refused failure keeps the job waiting for its time-out: no NUL, no half surrogate, no void.
    text = outcome.error.replace("\0", "?").encode(errors="replace").decode()
    error = text[:_ERROR_MAX] or "failed without saying why"
    try:
        return "failure", msgspec.json.encode({"error": error, **report})
    except _UNENCODABLE:
        return "failure", msgspec.json.encode({"error": error, **lease})
