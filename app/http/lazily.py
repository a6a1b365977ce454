"""Faces whose libraries take tens of megabytes: loaded when somebody first comes to them, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Loaded = TypeVar("Loaded")


class Lazily(Generic[Loaded]):
    """What ``load`` gives, once it is needed. Loading happens once, in a thread: importing takes half a second."""

    def __init__(self, load: Callable[[], Loaded]) -> None:
        self._load = load
        self._loading: asyncio.Future[Loaded] | None = None

    async def get(self) -> Loaded:
        """Raises what loading raised; the next one to come tries again."""
        if self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(self._load))
        loading = self._loading
        try:
            # Whoever goes away meanwhile does not take it away from the others.
            return await asyncio.shield(loading)
        except Exception:
            if self._loading is loading and loading.done():
                self._loading = None
            raise
