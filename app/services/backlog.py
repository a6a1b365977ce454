"""When a wave takes waiting jobs along: as soon as the view has changed, so that what became free goes by rank and
share.

Without this it would go to whichever job's own timer comes first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.matchmaker.view import NodeView
from app.services.waves import Wave
from app.store import backlog
from app.store.backlog import Place
from app.store.db import UnitOfWork

Signals = list[tuple[int, str, str]]

MOST = 256
"""Waiting jobs that a wave takes along at most."""

_SPARE = 16
"""Waiting jobs taken along besides two for each free slot: not everyone fits what is free."""


class Backlog:
    """One worker's looks at the backlog. It costs a look at the index, and that only after the view has changed.

    A view that has not changed since nobody could be placed has nothing for anybody. While there are more waiting jobs
    than one look sees, and free slots, the following waves look further back, always at the front, too.
    """

    def __init__(self) -> None:
        self._seen = -1
        self._after: Place | None = None

    async def pull(self, uow: UnitOfWork, view: NodeView, due: Signals) -> Signals:
        """The timers to take along with ``due``, locked; empty when there is nobody waiting or nothing for them."""
        if view.version == self._seen and self._after is None:
            return []
        self._seen = view.version
        free = free_slots(view)
        if not free:
            self._after = None
            return []
        found = await backlog.pull(uow, min(MOST, _SPARE + 2 * free), self._after)
        self._after = found.seen_to
        claimed = {signal_id for signal_id, _, _ in due}
        return [signal for signal in found.signals if signal[0] not in claimed]

    def fruits(self, wave: Wave) -> int:
        """How many of the wave's pulled jobs came to something; 1 at least while the look goes on further back."""
        kept = set(wave.consumed)
        fruits = sum(signal_id in kept for signal_id in wave.pulled.values())
        return fruits or int(self._after is not None)


def taken_along(due: Signals, pulled: Sequence[tuple[int, str, str]]) -> dict[str, int]:
    """By job id, the pulled timers of jobs that are in the wave for no other reason."""
    called = {job_id for _, job_id, _ in due}
    return {job_id: signal_id for signal_id, job_id, _ in pulled if job_id not in called}


def free_slots(view: NodeView) -> int:
    """Free slots of all online nodes, one pass over the view."""
    rows = view.rows
    return int(np.sum(rows.free, where=rows.online, dtype=np.int64))
