"""One HTTP client for every receiver: bounded in time, size and concurrency, and guarded.

It is httpcore's pool itself, with the guard as its network: no redirects, no proxies, no cookies, no
decompression, nothing from the environment, and no log line with the URL, which httpx would write at level
INFO.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType

import httpcore

from app.core.deliveries import Event
from app.webhooks import signing
from app.webhooks.endpoints import Endpoint
from app.webhooks.guard import Guard, RefusedError
from app.webhooks.outcome import Outcome, Verdict, judge
from app.webhooks.pace import SLACK_INTERVAL_S, Pace

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 64 * 1024
_AGENT = b"hypernode-automation-engine"
_IDLE_CONNECTION_S = 5.0
_MOST_LANES = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """``total_s`` bounds a whole try; ``connect_s`` look-up and dialling, and TLS again; ``read_s`` the silence
    between two pieces, None for ``total_s``. Concurrency counts sends in flight.
    """

    connect_s: float = 5.0
    total_s: float = 15.0
    read_s: float | None = None
    concurrency: int = 64
    per_endpoint: int = 8


@dataclass(slots=True)
class _Lane:
    """``users``: sends that wait for it or are under way."""

    pace: Pace
    free: asyncio.Semaphore
    users: int = 0


@dataclass(slots=True)
class _Answer:
    status: int = 0
    """0 until the status line has come."""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class Sender:
    """Sends events to endpoints; an async context manager that owns its connections and closes ``guard``."""

    def __init__(self, guard: Guard, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._guard = guard
        self._free = asyncio.Semaphore(self.limits.concurrency)
        self._lanes: dict[str, _Lane] = {}
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpcore.default_ssl_context(),
            max_connections=self.limits.concurrency,
            keepalive_expiry=_IDLE_CONNECTION_S,
            network_backend=guard,
        )

    async def __aenter__(self) -> Sender:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.aclose()
        self._guard.close()

    def capacity(self, endpoint: Endpoint) -> int:
        """How many sends to ``endpoint`` may be in flight: 1 to chats, which allow about one a second."""
        return self.limits.per_endpoint if endpoint.kind == "custom" else 1

    def wait_s(self, endpoint: Endpoint) -> float:
        """Seconds until a send to ``endpoint`` may begin, by its own rate limit and by what it asked for."""
        return self._lane(endpoint).pace.wait_s(time.monotonic())

    async def send(self, endpoint: Endpoint, event: Event) -> Outcome:
        """One try. Never raises for what a receiver does or fails to do; cancelling it is safe.

        Waits for its turn first. While the receiver wants to be left alone, answers RETRY without
        contacting it.
        """
        lane = self._lane(endpoint)
        lane.users += 1
        try:
            async with lane.free, self._free:
                held = lane.pace.held_s(time.monotonic())
                if held > 0:
                    return Outcome(Verdict.RETRY, "receiver is rate limiting", retry_after_s=held)
                await asyncio.sleep(lane.pace.reserve(time.monotonic()))
                outcome = await self._try(endpoint, event)
                if outcome.hold_s > 0:
                    lane.pace.hold(time.monotonic(), outcome.hold_s)
        finally:
            lane.users -= 1
        if outcome.verdict is not Verdict.DELIVERED:
            logger.info("webhook %s: event %s: %s", endpoint.name, event.id, outcome.reason)
        return outcome

    async def _try(self, endpoint: Endpoint, event: Event) -> Outcome:
        body = endpoint.body(event)
        try:
            answer = await self._post(endpoint, _headers(endpoint, event, body), body)
        except RefusedError as error:
            return Outcome(Verdict.DEAD, str(error))
        except (TimeoutError, httpcore.TimeoutException):
            return Outcome(Verdict.RETRY, "receiver timed out")
        except httpcore.ConnectError:
            return Outcome(Verdict.RETRY, "receiver could not be reached")
        except (httpcore.ProtocolError, httpcore.NetworkError):
            return Outcome(Verdict.RETRY, "receiver broke off or did not speak HTTP")
        return judge(endpoint.kind, answer.status, answer.headers, bytes(answer.body), datetime.now(UTC))

    async def _post(self, endpoint: Endpoint, headers: list[tuple[bytes, bytes]], body: bytes) -> _Answer:
        limits = self.limits
        read_s = limits.read_s or limits.total_s
        waits = {"connect": limits.connect_s, "read": read_s, "write": read_s, "pool": limits.total_s}
        answer = _Answer()
        try:
            async with (
                asyncio.timeout(limits.total_s),
                self._pool.stream(
                    "POST", endpoint.target(), headers=headers, content=body, extensions={"timeout": waits}
                ) as response,
            ):
                answer.status, answer.headers = response.status, _decoded(response.headers)
                # Leaving the block with something unread closes the connection.
                async for chunk in response.aiter_stream():
                    answer.body += chunk[: MAX_ANSWER_BYTES - len(answer.body)]
                    if len(answer.body) >= MAX_ANSWER_BYTES:
                        break
        except (TimeoutError, httpcore.TimeoutException, httpcore.ProtocolError, httpcore.NetworkError):
            # The status line has said it all: a body that drips, breaks off or is garbage changes nothing.
            if not answer.status:
                raise
        return answer

    def _lane(self, endpoint: Endpoint) -> _Lane:
        lane = self._lanes.get(endpoint.name)
        if lane is None:
            if len(self._lanes) >= _MOST_LANES:
                self._forget_idle()
            interval = SLACK_INTERVAL_S if endpoint.kind == "slack" else 0.0
            lane = _Lane(Pace(interval), asyncio.Semaphore(self.capacity(endpoint)))
            self._lanes[endpoint.name] = lane
        return lane

    def _forget_idle(self) -> None:
        """Agents' hooks come and go: forget those that nothing is under way to and that did not ask for a pause."""
        now = time.monotonic()
        for name, lane in list(self._lanes.items()):
            if lane.users == 0 and lane.pace.wait_s(now) == 0:
                del self._lanes[name]


def _headers(endpoint: Endpoint, event: Event, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"Content-Type", b"application/json; charset=utf-8"),
        (b"User-Agent", _AGENT),
        (b"Accept-Encoding", b"identity"),
    ]
    more = dict(endpoint.headers())
    if endpoint.kind == "custom":
        more |= signing.headers(endpoint.secrets, event.id, int(time.time()), body)
        if not endpoint.secrets:
            del more["webhook-signature"]
    return headers + [(name.encode(), value.encode()) for name, value in more.items()]


def _decoded(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
