"""The native node API as typed calls, all safe to repeat: nodes are known by wallet, offers by id.

NodeApiError
├── RefusedError      the server answered, and asking again would not help
└── UnreachableError  no usable answer within the caller's patience
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from app.core.retry import backoff_s
from app.node_worker.connections import Answer, Channel, TransportError
from app.node_worker.wire import Description, NodeStatus, Offer, Offers, Problem, Registration

CALL_S = 10.0
"""Longest silence of the server on a call; a long-poll is given its wait on top."""
FOREVER = math.inf
_BACKOFF_BASE_S = 0.1
_BACKOFF_CAP_S = 15.0
_RETRY_AFTER_CAP_S = 60.0
_RETRYABLE = frozenset({408, 425, 429, 502, 503, 504})

T = TypeVar("T")


class NodeApiError(Exception):
    """Base of what a call raises."""


class UnreachableError(NodeApiError):
    """No usable answer: connection error, time-out, overload. ``retry_after``: the server's wish, in s."""

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class RefusedError(NodeApiError):
    """The server's problem document; ``code`` is stable, e.g. ``offer_over``."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(f"{status} {problem.code}: {problem.detail} {problem.next_action}".rstrip())
        self.status = status
        self.code = problem.code
        self.detail = problem.detail


class NodeApi:
    """One node's calls. ``patience_s``: how long to keep trying while the server is away; 0 = one try."""

    def __init__(self, channel: Channel, api_key: str) -> None:
        self._channel = channel
        self._bare = {
            "authorization": f"Bearer {api_key}",
            "accept": "application/json",
            "user-agent": "hae-node",
        }
        self._with_body = {**self._bare, "content-type": "application/json"}

    async def register(self, description: Description, *, patience_s: float = FOREVER) -> Registration:
        async with self._channel.connections.registering:
            return await self._call("POST", "/v1/node/register", Registration, description, patience_s=patience_s)

    async def heartbeat(self, node_id: str, gpu_utilization: int | None, running: Sequence[str] = ()) -> NodeStatus:
        """One try: the next heartbeat makes up for a lost one. ``running``: offers that have lease tokens."""
        body: dict[str, Any] = {"gpu_utilization": gpu_utilization}
        if running:
            body["running"] = running
        return await self._call("POST", f"/v1/node/{node_id}/heartbeat", NodeStatus, body, patience_s=0.0)

    async def offers(self, node_id: str, wait_s: int, *, patience_s: float = FOREVER) -> list[Offer]:
        """Open offers, held by the server for up to ``wait_s`` seconds while there are none."""
        path = f"/v1/node/{node_id}/offers?wait={wait_s}"
        answer = await self._call("GET", path, Offers, patience_s=patience_s, timeout_s=wait_s + CALL_S)
        return answer.offers

    async def accept(self, node_id: str, offer_id: str, lease_token: int = 0) -> None:
        action = f"accept?lease_token={lease_token}" if lease_token else "accept"
        await self._offer(node_id, offer_id, action, None, FOREVER)

    async def decline(self, node_id: str, offer_id: str, reason: str) -> None:
        await self._offer(node_id, offer_id, "decline", {"reason": reason}, CALL_S)

    async def progress(self, node_id: str, offer_id: str, percent: int, message: str, lease_token: int = 0) -> None:
        """One try: the next progress makes up for a lost one."""
        body = {"percent": percent, "message": message, **lease_fields(lease_token)}
        await self._offer(node_id, offer_id, "progress", body, 0.0)

    async def result(self, node_id: str, offer_id: str, body: bytes) -> None:
        await self._offer(node_id, offer_id, "result", body, FOREVER)

    async def failure(self, node_id: str, offer_id: str, body: bytes) -> None:
        await self._offer(node_id, offer_id, "failure", body, FOREVER)

    async def drain(self, node_id: str, *, patience_s: float) -> NodeStatus:
        return await self._call("POST", f"/v1/node/{node_id}/drain", NodeStatus, patience_s=patience_s)

    async def resume(self, node_id: str) -> NodeStatus:
        return await self._call("POST", f"/v1/node/{node_id}/resume", NodeStatus)

    async def _offer(self, node_id: str, offer_id: str, action: str, body: Any, patience_s: float) -> None:
        await self._call("POST", f"/v1/node/{node_id}/offers/{offer_id}/{action}", object, body, patience_s=patience_s)

    async def _call(
        self,
        method: str,
        path: str,
        answer_type: type[T],
        body: Any = None,
        *,
        patience_s: float = FOREVER,
        timeout_s: float = CALL_S,
    ) -> T:
        content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + patience_s
        tries = 0
        while True:
            try:
                return await self._try(method, path, answer_type, content, timeout_s)
            except UnreachableError as exc:
                tries += 1
                if tries > 1:
                    # Once is no news: servers close idle connections, and a request may meet the closing.
                    self._channel.connections.note(self._channel.base_url, str(exc))
                pause = backoff_s(tries, base_s=_BACKOFF_BASE_S, cap_s=_BACKOFF_CAP_S)
                if exc.retry_after is not None:
                    pause = min(max(pause, exc.retry_after), _RETRY_AFTER_CAP_S)
                if clock() + pause > give_up_at:
                    raise
            await asyncio.sleep(pause)

    async def _try(self, method: str, path: str, answer_type: type[T], content: bytes, timeout_s: float) -> T:
        channel = self._channel
        headers = self._with_body if content else self._bare
        try:
            answer = await channel.exchange(method, path, headers, content, timeout_s=timeout_s)
        except TransportError as exc:
            raise UnreachableError(str(exc)) from exc
        if answer.status not in _RETRYABLE:
            channel.connections.note(channel.base_url, None)
        if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise _error(answer)
        try:
            return msgspec.json.decode(answer.content, type=answer_type)
        except msgspec.MsgspecError as exc:
            raise UnreachableError(f"unreadable answer to {method} {path}: {exc}") from exc


def lease_fields(lease_token: int) -> dict[str, int]:
    """What a body says of the lease: nothing where the server gave no token, which may not know the field."""
    return {"lease_token": lease_token} if lease_token else {}


def _error(answer: Answer) -> NodeApiError:
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except msgspec.MsgspecError:
        # Something between us and the server answered: a proxy's error page.
        problem = Problem(code=f"http_{answer.status}", detail="the answer is no problem document")
    if answer.status in _RETRYABLE or problem.retryable:
        return UnreachableError(f"{answer.status} {problem.code}", _retry_after(answer, problem))
    return RefusedError(answer.status, problem)


def _retry_after(answer: Answer, problem: Problem) -> float | None:
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        # Absent, or a date: the engine sends seconds, and backoff covers the rest.
        return problem.retry_after
    return seconds if math.isfinite(seconds) else problem.retry_after
