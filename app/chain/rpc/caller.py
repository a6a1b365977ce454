"""Requests and batches pursued over several endpoints until they are answered or given up.

What happens to a request is decided in three places: answers.py reads what an endpoint said, endpoints.py who rests
and who is asked next, effort.py when it is enough.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar

import httpx
import msgspec

from app.chain.rpc import answers
from app.chain.rpc.answers import Answer
from app.chain.rpc.effort import Effort
from app.chain.rpc.endpoints import Endpoint, Lane, lanes, pick
from app.chain.rpc.errors import MALFORMED, RpcError, RpcUnavailable
from app.chain.rpc.transport import Transport
from app.chain.rpc.trouble import Kind, Trouble
from app.core.retry import backoff_s

logger = logging.getLogger(__name__)

_PATIENCE = 3
PAUSE_BASE_S = 0.1
PAUSE_CAP_S = 2.0

S = TypeVar("S")
T = TypeVar("T")
Self = TypeVar("Self", bound="Caller")


class Caller:
    """Raw JSON-RPC over ``endpoints``, the first preferred; an async context manager that owns its connections.

    An endpoint in trouble rests, for longer each time, while the next ones take over; after its rest it is tried
    again. ``timeout_s`` bounds one exchange; a request is given up after ``tries`` of them, or with no new one begun
    after 3 × ``timeout_s``, time spent waiting for an endpoint's rate budget not counted. ``batch``: requests in one
    JSON-RPC batch at most. ``concurrency``: exchanges of one call at once.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        timeout_s: float = 10.0,
        tries: int = 6,
        batch: int = 100,
        concurrency: int = 4,
    ) -> None:
        self._lanes = lanes(endpoints, max(1, batch))
        self._size = max(lane.batch(0.0) for lane in self._lanes)
        self._tries = max(1, tries)
        self._patience_s = timeout_s * _PATIENCE
        self._concurrency = max(1, concurrency)
        # Loading the certificates takes 20 ms, which a local node need not cost.
        secure = any(lane.target.url.scheme == "https" for lane in self._lanes)
        tls = httpx.create_ssl_context(trust_env=False) if secure else None
        self._transports = {lane: Transport(lane.target, tls, timeout_s) for lane in self._lanes}
        self._next_number = 1
        self._closed = False

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; calls under way and later ones raise RpcUnavailable."""
        self._closed = True
        for transport in self._transports.values():
            await transport.aclose()

    async def call(self, method: str, params: Sequence[Any], *, min_slot: int | None = None) -> Any:
        """The result, whatever JSON it is. ``min_slot``: answered by no node that has not seen that slot.

        Raises RpcError for the node's answer, RpcUnavailable when there is none.
        """
        return await self._ask(method, from_slot(params, min_slot), _as_it_is)

    async def many(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any | RpcError]:
        """Results or the node's errors, one per element of ``params``. Raises RpcUnavailable when any is missing."""
        return await self._many(method, params, _as_it_is)

    async def _many(
        self, method: str, params: Sequence[Sequence[Any]], read: Callable[[Any], Any]
    ) -> list[Any | RpcError]:
        return await self._chunks(params, self._size, lambda chunk: self._settle(method, chunk, read))

    async def _ask(self, method: str, params: Sequence[Any], read: Callable[[Any], T], tries: int = 0) -> T:
        """One result through ``read``, whose ValueError means that the node sent nonsense."""
        (answer,) = await self._settle(method, [params], read, tries)
        if isinstance(answer, RpcError):
            raise answer
        result: T = answer
        return result

    async def _chunks(self, items: Sequence[S], size: int, do: Callable[[Sequence[S]], Awaitable[list[T]]]) -> list[T]:
        """``do`` for ``size`` items at a time, ``concurrency`` at once, its lists joined; the first failure ends it."""
        if len(items) <= size:
            return await do(items) if items else []
        starts, found = deque(range(0, len(items), size)), dict[int, list[T]]()
        failed: list[RpcError | RpcUnavailable] = []

        async def work() -> None:
            while starts and not failed:
                at = starts.popleft()
                try:
                    found[at] = await do(items[at : at + size])
                except (RpcError, RpcUnavailable) as error:
                    failed.append(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._concurrency, len(starts))):
                group.create_task(work())
        if failed:
            raise failed[0]
        return [each for at in sorted(found) for each in found[at]]

    async def _settle(
        self, method: str, params: Sequence[Sequence[Any]], read: Callable[[Any], Any], tries: int = 0
    ) -> list[Any | RpcError]:
        """Pursue a piece of work no larger than a batch until each of its requests is settled."""
        clock = asyncio.get_running_loop().time
        effort = Effort(tries or self._tries, self._patience_s, clock())
        settled: list[Any] = [None] * len(params)
        todo = list(range(len(params)))
        while todo:
            lane, size = await self._lane(effort, len(todo))
            part, todo = todo[:size], todo[size:]
            started, found = await self._exchange(lane, method, [params[item] for item in part])
            if found is None:
                todo = part + todo
                continue
            if isinstance(found, Trouble):
                if found.kind is Kind.REFUSED and size > 1:
                    lane.shrink(size, clock())
                    todo = part + todo
                    continue
                found = [found] * len(part)
            left, worst = [], None
            for item, said in zip(part, found, strict=True):
                answer = _read(read, said, method)
                if isinstance(answer, Trouble):
                    error = effort.verdict(item, answer)
                    if error is None:
                        left.append(item)
                        worst = answer if worst is None or answer.kind > worst.kind else worst
                        continue
                    answer = error
                settled[item] = lane.clean(answer) if isinstance(answer, RpcError) else answer
            todo += left
            self._judge(lane, worst, len(part), len(left), started, effort)
        return settled

    async def _lane(self, effort: Effort, wanted: int) -> tuple[Lane, int]:
        """An endpoint that may be asked now, and for how many of ``wanted`` requests. Raises RpcUnavailable."""
        clock = asyncio.get_running_loop().time
        while True:
            if self._closed:
                raise RpcUnavailable("the Solana RPC client is closed")
            now = clock()
            lane = pick(self._lanes, now, effort.avoided)
            if lane is None:
                await self._pause(effort, now)
                continue
            size = min(wanted, lane.batch(now))
            wait = lane.budget.reserve(size, now)
            if wait <= 0:
                return lane, size
            effort.extend(wait)
            await asyncio.sleep(wait)
            if lane.rest_s(clock()) <= 0:
                return lane, size

    async def _pause(self, effort: Effort, now: float) -> None:
        """Wait until an endpoint is worth asking again. Raises RpcUnavailable when that is too late."""
        rest = min(lane.rest_s(now) for lane in self._lanes)
        if rest <= 0:
            rest = backoff_s(effort.tried, base_s=PAUSE_BASE_S, cap_s=PAUSE_CAP_S, jitter=1.0)
        effort.avoided.clear()
        if now + rest >= effort.deadline:
            raise effort.failure(retry_after=rest)
        await asyncio.sleep(rest)

    async def _exchange(
        self, lane: Lane, method: str, params: list[Sequence[Any]]
    ) -> tuple[float, list[Answer] | Trouble | None]:
        """When it began, and what came of it: None when the endpoint went to rest before it was our turn."""
        clock = asyncio.get_running_loop().time
        first = self._next_number
        self._next_number += len(params)
        requests = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": each}
            for number, each in enumerate(params, first)
        ]
        content = msgspec.json.encode(requests if len(requests) > 1 else requests[0])
        lane.busy += 1
        try:
            async with lane.free:
                started = clock()
                if lane.rest_s(started) > 0:
                    return started, None
                reply = await self._transports[lane].post(content)
        finally:
            lane.busy -= 1
        if isinstance(reply, Trouble):
            return started, reply
        return started, answers.batch(reply, first, len(params)) if len(params) > 1 else [answers.single(reply, first)]

    def _judge(self, lane: Lane, worst: Trouble | None, size: int, left: int, started: float, effort: Effort) -> None:
        """Draw the conclusions of an exchange that left ``left`` of ``size`` requests unanswered, ``worst`` the reason.

        Raises RpcUnavailable when it was the last try.
        """
        now = asyncio.get_running_loop().time()
        if left < size:
            effort.renew(now)
        # Who forgets an item of a batch is well; who forgets them all is not.
        well = worst is None or (worst.kind <= Kind.BEHIND and not (worst.kind is Kind.MISSING and left == size))
        if well and lane.praise(started):
            logger.info("Solana RPC %s answers again", lane.name)
        if worst is None:
            return
        effort.note(lane, worst)
        if worst.kind is Kind.TIMED_OUT and size > 1:
            lane.shrink(size, now)
        if not well and lane.blame(worst, started, now):
            logger.warning("Solana RPC %s: %s; it rests for %.1f s", lane.name, worst.reason, lane.rest_s(now))
        forgiven = worst.kind is Kind.DROPPED and lane.troubles <= 1
        if not forgiven and (worst.kind is not Kind.MISSING or not well):
            effort.avoided.add(lane)
        if left == size:
            effort.spend(now)


def _read(read: Callable[[Any], Any], answer: Answer, method: str) -> Answer:
    """The answer with its result through ``read``; what cannot be read is the node's failure at this one request."""
    if isinstance(answer, Trouble):
        if answer.kind is not Kind.REFUSED:
            return answer
        return Trouble(Kind.DOUBTFUL, answer.reason, error=RpcError(MALFORMED, answer.reason))
    try:
        return answer if isinstance(answer, RpcError) else read(answer)
    except ValueError:
        reason = f"a malformed result of {method}"
        return Trouble(Kind.DOUBTFUL, reason, error=RpcError(MALFORMED, reason))


def _as_it_is(result: Any) -> Any:
    return result


def from_slot(params: Sequence[Any], min_slot: int | None) -> Sequence[Any]:
    """``params`` with ``min_slot`` in the configuration that is, or becomes, their last."""
    if min_slot is None:
        return params
    given = list(params)
    config = given.pop() if given and isinstance(given[-1], dict) else {}
    return [*given, {**config, "minContextSlot": min_slot}]
