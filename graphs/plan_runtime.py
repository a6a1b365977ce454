"""Runs the plan graph on waves: one transaction a wave; plans that fail it run alone, and are given up at last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from app.core.access import Principal
from app.core.errors import Unavailable
from app.core.remembering import Remembered
from app.services import plans as plan_service
from app.services.plans import PlanWave
from app.services.quotas import Quotas
from app.store import plan_signals, plans
from app.store.db import Database, UnitOfWork
from app.store.rows import to_json
from graphs.plan import PlanContext, PlanState, build
from tools.context import Defaults
from tools.plan_reading import Reading, read, stored

log = logging.getLogger(__name__)

WAVE = 256
"""Signals that a wave takes at most."""
TRIES = 5
RETRY_S = 1.0
WAVE_UNITS = 10_000
"""Units that the plans of a wave come to at most: a larger plan has a wave of its own."""
WAVE_BYTES = 4 << 20
"""The same for their requests, as they are stored."""
_REMEMBERED = 32 << 20
"""Bytes of requests, as JSON, that are remembered as read; a heavier one is read again by every wave."""
_DIGESTS = 100_000
"""Results of redundant runs whose digests are remembered."""


class PlanRunner:
    """Claims due signals of plans and runs the plan graph on them. ``moves`` counts changes of plans and units.

    ``left``: whether the last wave left out plans that were due, so that the next one is to come at once.
    """

    def __init__(self, db: Database, defaults: Defaults, quotas: Quotas) -> None:
        self.db = db
        self.moves = 0
        self.left = False
        self._defaults = defaults
        self._quotas = quotas
        self._readings: Remembered[str, Reading] = Remembered(_REMEMBERED)
        self._digests: dict[str, str] = {}
        self._graph = build()

    async def run_once(self) -> int:
        """Run one wave over what is due; the signals it took. Raises Unavailable when Postgres is away."""
        taken: list[tuple[int, str]] = []
        try:
            return await self._attempt(None, taken)
        except Unavailable:
            raise
        except Exception:
            log.exception("a wave of plans failed; running them one by one")
            for plan_id in sorted({plan_id for _, plan_id in taken}):
                await self._alone(plan_id)
            return len(taken)

    async def _attempt(self, plan_id: str | None, taken: list[tuple[int, str]]) -> int:
        moves = 0
        async with self.db.unit() as uow:
            if plan_id is None:
                due, self.left = await plan_signals.claim_due(uow, WAVE, WAVE_UNITS, WAVE_BYTES)
            else:
                due = await plan_signals.claim_of(uow, [plan_id])
            taken += due
            if not due:
                return 0
            readings = await self._read(uow, sorted({plan for _, plan in due}))
            context = PlanContext(uow, due, readings, self._defaults, self._quotas, self._digests)
            state = await self._graph.ainvoke(PlanState(wave=PlanWave()), context=context)
            moves = sum(len(work.moves) for work in state["wave"].works)
        self.moves += moves
        return len(due)

    async def _read(self, uow: UnitOfWork, plan_ids: Sequence[str]) -> dict[str, Reading]:
        """The requests of these plans, read once a process as long as they are remembered."""
        if len(self._digests) > _DIGESTS:
            self._digests.clear()
        found: dict[str, Reading] = {}
        for plan_id in plan_ids:
            reading = self._readings.get(plan_id)
            plan = await plans.get(uow, plan_id, None) if reading is None else None
            if plan is not None:
                request = await plans.request(uow, plan_id)
                principal = Principal(plan.key_id, plan.account, frozenset())
                # Beside the loop: a large one takes seconds, in which jobs are to go on.
                reading = await asyncio.to_thread(lambda: read(self._defaults, principal, stored(request)))  # noqa: B023
                self._readings.put(plan_id, reading, len(to_json(request)))
            if reading is not None:
                found[plan_id] = reading
        return found

    async def _alone(self, plan_id: str) -> None:
        try:
            await self._attempt(plan_id, [])
        except Unavailable:
            raise
        except Exception as error:
            log.exception("plan %s fails its wave", plan_id)
            told = f"the plan graph failed: {type(error).__name__}"
            async with self.db.unit() as uow:
                given_up = await plan_service.fail(uow, plan_id, told, max_tries=TRIES, retry_s=RETRY_S)
            if given_up:
                log.error("plan %s is given up after %d tries", plan_id, TRIES)
