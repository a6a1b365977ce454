"""Group commit: calls that arrive while one batch is under way share the next one's transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from app.core.errors import Unavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Hands items to ``work`` in batches of up to ``limit``, in the order of arrival.

    An idle batcher starts at once, so a lone call waits for nobody. ``work`` answers one value or exception an item. A
    batch that raises as a whole is run again one by one, so that one bad item spoils nobody else's call.
    """

    def __init__(
        self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]], *, limit: int = 128
    ) -> None:
        self._work = work
        self._limit = limit
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def call(self, item: Item) -> Answer:
        """The item's answer; raises what ``work`` answered or raised for it."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        # Shielded: a caller that goes away does not cancel what others share.
        return await asyncio.shield(answer)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
                await self._run(batch)
        finally:
            self._task = None
            if self._waiting:
                self._task = asyncio.create_task(self._drain())

    async def _run(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers: Sequence[Answer | Exception] = await self._work([item for item, _ in batch])
        except Unavailable as error:
            answers = [error] * len(batch)
        except Exception as error:
            if len(batch) > 1:
                for pair in batch:
                    await self._run([pair])
                return
            answers = [error]
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
            # Nobody may be listening any more; the exception is then not worth a warning.
            future.exception()
