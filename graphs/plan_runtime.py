"""Runs the plan graph on waves: one transaction a wave; plans that fail it run alone, and are given up at last."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from app.core.access import Principal
from app.core.errors import Unavailable
from app.services import plans as plan_service
from app.services.plans import PlanWave
from app.services.quotas import Quotas
from app.store import plan_signals, plans
from app.store.db import Database, UnitOfWork
from graphs.plan import PlanContext, PlanState, build
from tools.context import Defaults
from tools.plan_reading import Reading, read, stored

log = logging.getLogger(__name__)

WAVE = 256
"""Signals that a wave takes at most."""
TRIES = 5
RETRY_S = 1.0
_REMEMBERED = 256


class PlanRunner:
    """Claims due signals of plans and runs the plan graph on them. ``moves`` counts changes of plans and units."""

    def __init__(self, db: Database, defaults: Defaults, quotas: Quotas) -> None:
        self.db = db
        self.moves = 0
        self._defaults = defaults
        self._quotas = quotas
        self._readings: dict[str, Reading] = {}
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
            due = await (plan_signals.claim_due(uow, WAVE) if plan_id is None else plan_signals.claim_of(uow, plan_id))
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
        if len(self._readings) > _REMEMBERED:
            self._readings.clear()
            self._digests.clear()
        for plan_id in plan_ids:
            if plan_id not in self._readings:
                plan = await plans.get(uow, plan_id, None)
                if plan is not None:
                    principal = Principal(plan.key_id, plan.account, frozenset())
                    asked = stored(await plans.request(uow, plan_id))
                    self._readings[plan_id] = read(self._defaults, principal, asked)
        return {plan_id: self._readings[plan_id] for plan_id in plan_ids if plan_id in self._readings}

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
