"""Websocket subscriptions to programs' logs, used as a hint only: the scan of signatures is the truth.

One connection, one logsSubscribe a program (``mentions`` takes one key). It reads as fast as it can and keeps nothing:
a node drops a subscriber that falls behind, and the receiver of the hints coalesces them.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from app.chain.liveness import Liveness
from app.chain.rpc.answers import retry_after
from app.chain.rpc.endpoints import check_url, host_of
from app.chain.subscriptions import RefusedError, Subscriptions
from app.core.retry import backoff_s

logger = logging.getLogger(__name__)

# At level DEBUG websockets writes the address, and with it the API key.
_quiet = logging.getLogger(f"{__name__}.websocket")
_quiet.setLevel(logging.WARNING)

OPEN_S = 10.0
CLOSE_S = 1.0
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""A notification holds a transaction's logs: 10 kB, more where a node does not cut them."""
BACKOFF_BASE_S = 0.1
BACKOFF_CAP_S = 15.0
_STEADY_S = 10.0
"""A stream that lasted this long has earned a quick reconnect."""
_TELL_EVERY_S = 60.0


class LogsFeed:
    """Hints of transactions that mention one of ``programs``.

    ``on_hint(program, signature, slot)`` is called for every notification, failed transactions' too, as it arrives; it
    must be quick. ``on_state(True)``: every subscription is acknowledged, what lands from now on is notified.
    ``on_state(False)``: that has ended, and until the next True there is a gap. ``ping_s``: seconds without a message
    before a ping, and as many for its answer. ``silence_s``: seconds without a message after which a connection that
    answers pings is given up too, None for never; slot notifications, subscribed to for that, tell a quiet program from
    a dead node. Figures since the start: ``hints``, ``malformed`` (messages that could not be read), ``losses``.
    """

    def __init__(
        self,
        url: str,
        programs: Sequence[str],
        on_hint: Callable[[str, str, int], None],
        *,
        commitment: str = "confirmed",
        ping_s: float = 5.0,
        silence_s: float | None = None,
        on_state: Callable[[bool], None] = lambda up: None,
    ) -> None:
        self._url = check_url(url, "solana.ws_url", ("wss", "ws"))
        self._host = host_of(url)
        self._programs = list(programs)
        self._on_hint = on_hint
        self._on_state = on_state
        self._commitment = commitment
        self._ping_s = ping_s
        self._silence_s = silence_s
        self.hints = 0
        self.malformed = 0
        self.losses = 0
        self._told_at = -math.inf

    async def run(self, stop: asyncio.Event) -> None:
        """Subscribe, and again after every loss, until ``stop`` is set. Raises only what the callbacks raise."""
        clock = asyncio.get_running_loop().time
        stopping = asyncio.create_task(stop.wait())
        tries = 0
        try:
            while not stop.is_set():
                began = clock()
                loss = await self._until(stopping)
                if loss is None:
                    return
                reason, wait = loss
                self.losses += 1
                tries = 1 if clock() - began > _STEADY_S else tries + 1
                delay = max(wait, backoff_s(tries, base_s=BACKOFF_BASE_S, cap_s=BACKOFF_CAP_S, jitter=1.0))
                # The first loss is news; those that follow while the node is away are not.
                level = logging.WARNING if tries == 1 else logging.DEBUG
                logger.log(level, "Solana logs from %s: %s; again in %.1f s", self._host, reason, delay)
                await asyncio.wait({stopping}, timeout=delay)
        finally:
            stopping.cancel()

    async def _until(self, stopping: asyncio.Task[Any]) -> tuple[str, float] | None:
        """One connection's life: why it ended and how long to wait at least, or None once ``stopping`` is done."""
        session = asyncio.create_task(self._session())
        try:
            await asyncio.wait({session, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            session.cancel()
            await asyncio.wait({session})
        return None if session.cancelled() else session.result()

    async def _session(self) -> tuple[str, float]:
        try:
            socket = await connect(
                self._url,
                proxy=None,
                compression=None,
                open_timeout=OPEN_S,
                close_timeout=CLOSE_S,
                ping_interval=None,
                max_size=_MAX_MESSAGE_BYTES,
                logger=_quiet,
            )
        except (OSError, WebSocketException, EOFError, ValueError) as error:
            return _refusal(error)
        try:
            return await self._read(socket), 0.0
        finally:
            await socket.close()

    async def _read(self, socket: ClientConnection) -> str:
        """Read until the connection is lost; returns the reason."""
        subscriptions = Subscriptions(self._programs, self._commitment, slots=self._silence_s is not None)
        liveness = Liveness(socket, self._ping_s)
        up = False
        try:
            async with asyncio.timeout(OPEN_S) as patience:
                for request in subscriptions.requests():
                    await socket.send(request)
                while True:
                    hint = subscriptions.take(await socket.recv(decode=False))
                    liveness.heard()
                    if hint is not None:
                        self.hints += 1
                        self._on_hint(*hint)
                    elif subscriptions.malformed:
                        self._count_malformed(subscriptions)
                    elif not up and subscriptions.complete:
                        patience.reschedule(None)
                        up = True
                        if subscriptions.slots and self._silence_s is not None:
                            liveness.silent_after(self._silence_s)
                        logger.info("Solana logs from %s: subscribed", self._host)
                        self._on_state(True)
        except TimeoutError:
            if not patience.expired():
                raise
            return "subscriptions not answered"
        except RefusedError as error:
            return str(error)
        except ConnectionClosed as error:
            return liveness.verdict or _ending(error)
        finally:
            liveness.end()
            if up:
                self._on_state(False)

    def _count_malformed(self, subscriptions: Subscriptions) -> None:
        self.malformed += subscriptions.malformed
        subscriptions.malformed = 0
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= _TELL_EVERY_S:
            self._told_at = now
            logger.warning("Solana logs from %s: %d messages so far make no sense", self._host, self.malformed)


def _refusal(error: Exception) -> tuple[str, float]:
    """Why there is no connection, without the address, which some of these errors quote."""
    if isinstance(error, InvalidStatus):
        wait = retry_after(error.response.headers.get("Retry-After", ""))
        return f"refused with HTTP {error.response.status_code}", wait or 0.0
    if isinstance(error, TimeoutError):
        return "timed out", 0.0
    return "could not be reached" if isinstance(error, OSError) else f"no websocket ({type(error).__name__})", 0.0


def _ending(error: ConnectionClosed) -> str:
    if error.rcvd is not None:
        return f"closed by the node ({error.rcvd.code})"
    if error.sent is not None:
        return f"given up ({error.sent.code})"
    return "broken off"
