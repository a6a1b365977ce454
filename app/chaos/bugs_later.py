"""What the planted bug `event_after_commit` does: publish a wave's events behind its back."""

from __future__ import annotations

import asyncio
from typing import Any

from app.core.errors import HaeError

GATHER_S = 0.2
_kept: dict[int, list[Any]] = {}
_waiting: list[Any] = []
_task: asyncio.Task[None] | None = None


def keep(wave: object, told: list[Any]) -> None:
    """Remember a wave's events until its commit."""
    _kept[id(wave)] = told


def publish(db: Any, wave: object) -> None:
    """The wave is committed: write its events soon, if nothing comes between."""
    global _task
    _waiting.extend(_kept.pop(id(wave), ()))
    if _task is None or _task.done():
        _task = asyncio.create_task(_write(db))


async def _write(db: Any) -> None:
    from app.store import events

    while _waiting:
        await asyncio.sleep(GATHER_S)
        told, _waiting[:] = list(_waiting), []
        try:
            async with db.unit() as uow:
                await events.add(uow, told)
        except HaeError:
            # The database is away, and the moves they tell of are long committed.
            continue
