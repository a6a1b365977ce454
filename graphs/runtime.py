"""Runs the job graph on waves: one transaction a wave, halved when it fails, its poison parked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.core.errors import Unavailable
from app.core.health import HealthRules
from app.core.plans import PlanSignalKind
from app.services import placing
from app.services.backlog import Backlog, taken_along
from app.services.quotas import QuotaRules, Quotas
from app.services.views import Turn, ViewKeeper
from app.services.waves import Wave, committed_nodes
from app.store import jobs, plan_signals, signals
from app.store.db import Database
from app.store.signals import Share
from graphs.job import JobContext, build

log = logging.getLogger(__name__)

Due = list[tuple[int, str, str]]


@dataclass(frozen=True, slots=True)
class WaveLimits:
    """``wave_size``: signals a wave takes at most. ``poison_tries``: failures before a signal is parked."""

    wave_size: int = 256
    offer_ttl_s: float = 15.0
    lease_s: float = 150.0
    cancel_grace_s: float = 10.0
    poison_tries: int = 5
    poison_retry_s: float = 1.0
    health: HealthRules = field(default_factory=HealthRules)
    quotas: QuotaRules = field(default_factory=QuotaRules)


@dataclass(frozen=True, slots=True)
class WaveReport:
    """``signals`` that came to something, 0 = nothing is to be done now; ``moves`` made.

    ``failed``: whether some of it had to be given up for now. ``contended``: nodes that other waves held when this one
    wanted them.
    """

    signals: int
    moves: int
    failed: bool = False
    contended: int = 0


class WaveRunner:
    """Claims due signals and runs the job graph on them."""

    def __init__(self, db: Database, views: ViewKeeper, limits: WaveLimits) -> None:
        self.db = db
        self.views = views
        self.limits = limits
        self._backlog = Backlog()
        self._quotas = Quotas(limits.quotas)
        self._graph = build()

    async def run_once(self, claimed: Callable[[int], None] | None = None, share: Share = Share.ALL) -> WaveReport:
        """Run one wave over what is due, or ``share`` of it. Raises Unavailable when Postgres is away; nothing has
        happened then.

        ``claimed`` is told how many signals the wave has got, as soon as it has them. Several may run at once: each
        works on rows of its own, and they take turns on the view.
        """
        taken: list[Due] = []
        try:
            return await self._attempt(None, taken, claimed, share)
        except Unavailable:
            raise
        except Exception as error:
            due = taken[0] if taken else []
            log.exception("a wave of %d signals failed; running it again in halves", len(due))
            return await self._halves(due, error)

    async def _attempt(
        self,
        ids: Sequence[int] | None,
        taken: list[Due],
        claimed: Callable[[int], None] | None = None,
        share: Share = Share.ALL,
    ) -> WaveReport:
        state: dict[str, Wave] = {}
        turn = Turn(self.views.lock)
        try:
            async with self.db.unit() as uow:
                if ids is None:
                    due = await signals.claim_due(uow, self.limits.wave_size, share)
                else:
                    due = await signals.claim_ids(uow, ids)
                if claimed is not None:
                    claimed(len(due))
                pulls = ids is None and share is not Share.FOLLOWING
                pulled = await self._backlog.pull(uow, self.views.matchmaker.view, due) if pulls else []
                taken.append(due + pulled)
                if not due and not pulled:
                    return WaveReport(0, 0)
                limits = self.limits
                context = JobContext(
                    uow, self.views.matchmaker, due + pulled, limits.offer_ttl_s, limits.health, state,
                    self.views.age_s, self._quotas, taken_along(due, pulled),
                    limits.lease_s, limits.cancel_grace_s, turn,
                )  # fmt: skip
                await self._graph.ainvoke({}, context=context)
        except BaseException:
            if "wave" in state:
                placing.undo(state["wave"], self.views.matchmaker)
            raise
        finally:
            turn.give_up()
        wave = state["wave"]
        self.views.committed(committed_nodes(wave))
        moves = sum(len(visit.moves) for visit in wave.visits.values())
        return WaveReport(len(due) + self._backlog.fruits(wave), moves, contended=len(wave.contended))

    async def _halves(self, due: Due, error: Exception) -> WaveReport:
        """Run a failed wave's signals again in halves, until the culprit is alone; park it after its last try."""
        if len(due) <= 1:
            return await self._alone(due, error)
        middle = len(due) // 2
        reports = [await self._half(half) for half in (due[:middle], due[middle:])]
        return WaveReport(
            sum(report.signals for report in reports), sum(report.moves for report in reports), failed=True
        )

    async def _half(self, due: Due) -> WaveReport:
        try:
            return await self._attempt([signal_id for signal_id, _, _ in due], [])
        except Unavailable:
            raise
        except Exception as error:
            if len(due) == 1:
                log.exception("job %s fails its wave", due[0][1])
            return await self._halves(due, error)

    async def _alone(self, due: Due, error: Exception) -> WaveReport:
        if not due:
            return WaveReport(0, 0, failed=True)
        signal_id, job_id, kind = due[0]
        told = f"the job graph failed on signal {kind}: {type(error).__name__}"
        async with self.db.unit() as uow:
            parked = await signals.mark_poisoned(
                uow,
                [signal_id],
                told,
                max_tries=self.limits.poison_tries,
                retry_s=self.limits.poison_retry_s,
            )
            if parked:
                plan_id = await jobs.poison(uow, job_id, told)
                if plan_id is not None:
                    await plan_signals.add(uow, [(plan_id, PlanSignalKind.JOB_PARKED, None)])
        if parked:
            log.error("signal %s of job %s is parked after %d tries", kind, job_id, self.limits.poison_tries)
        return WaveReport(1, 0, failed=True)
