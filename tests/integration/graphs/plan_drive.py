"""Plans driven by hand: submitted through what the tools use, their jobs run by nodes that the test plays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from app.core.access import Principal
from app.core.plans import PlanSignalKind
from app.services import offers, plans
from app.services.plans import PlanView, PlanWish
from app.services.quotas import QuotaRules, Quotas
from app.settings import JobsSettings
from app.store import plan_signals
from app.store.db import Database
from app.store.results import NewReport
from graphs.plan_runtime import PlanRunner
from graphs.runtime import WaveRunner
from tests import factories
from tests.factories import OWNER, sql
from tools.context import NetworkDefaults
from tools.plan_reading import read
from tools.plan_schemas import SubmitPlan

DEFAULTS = NetworkDefaults(JobsSettings(), "reputation_weighted")
Answer = Callable[[str, dict[str, Any]], Any]
"""What a job comes to, by its id and payload: its result; an exception fails it; None leaves it running."""


def task(task_id: str, prompt: str = "do it", **more: Any) -> dict[str, Any]:
    """A task that runs a minute at most; ``job`` in ``more`` changes its job."""
    job = {"type": "llm_inference", "prompt": prompt, "timeout_s": 60, "max_retries": 0} | more.pop("job", {})
    return {"task_id": task_id, "job": job, **more}


def request(*tasks: dict[str, Any], **changes: Any) -> SubmitPlan:
    """A plan of these tasks with money enough."""
    given = {"tasks": list(tasks), "budget_hyper": "1000", "max_price_per_gpu_hour_hyper": "6"} | changes
    return msgspec.convert(given, SubmitPlan)


async def submit(db: Database, asked: SubmitPlan, principal: Principal = OWNER) -> str:
    """Submit the plan; its id."""
    reading = read(DEFAULTS, principal, asked)
    wish = PlanWish(
        principal, asked.name, msgspec.to_builtins(asked), reading.blueprint, asked.deadline_s, asked.idempotency_key
    )
    return (await plans.submit(db, wish))[0]


def plan_runner(db: Database) -> PlanRunner:
    return PlanRunner(db, DEFAULTS, Quotas(QuotaRules()))


@dataclass
class Drive:
    """One worker's both graphs, and nodes that accept everything and answer by ``answer``."""

    db: Database
    answer: Answer = lambda job_id, payload: {"said": payload.get("prompt", "")}
    answered: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waves: WaveRunner = factories.runner(self.db)
        self.plans = plan_runner(self.db)

    async def settle(self) -> None:
        """Run both graphs until neither has anything due."""
        while await factories.run_waves(self.waves) + await self.plans.run_once():
            pass

    async def again(self, plan_id: str) -> None:
        """Look at the plan now, whatever it waits for."""
        async with self.db.unit() as uow:
            await plan_signals.add(uow, [(plan_id, PlanSignalKind.RETRY_DUE, None)])
        await self.settle()

    async def work(self) -> bool:
        """Accept what is offered, and report what runs and has an answer; whether there was any."""
        await self.settle()
        found = await factories.all_offers(self.db)
        await offers.accept(self.db, [(offer.id, offer.node_id) for offer in found])
        await self.settle()
        running = await sql(
            self.db,
            """SELECT o.id, o.node_id, o.job_id, j.payload FROM offers o JOIN jobs j ON j.id = o.job_id
            WHERE o.state = 'accepted' AND o.holds_slots ORDER BY o.job_id""",
        )
        reports = []
        for offer_id, node_id, job_id, payload in running:
            result = self.answer(job_id, payload)
            if result is not None:
                ok = not isinstance(result, Exception)
                body, error = (result, None) if ok else (None, str(result))
                reports.append(NewReport(offer_id, node_id, ok, f"digest of {offer_id}", body, error=error))
                self.answered.append(job_id)
        if reports:
            await offers.report(self.db, reports)
        await self.settle()
        return bool(found or reports)

    async def run(self) -> None:
        """Until nothing moves any more."""
        while await self.work():
            pass


async def view(db: Database, plan_id: str) -> PlanView:
    """The plan, its units and jobs."""
    return await plans.view(db, OWNER, plan_id)


async def check_money(db: Database, plan_id: str) -> None:
    """What the plan's row says is what its jobs cost and may cost, and within the budget."""
    ((budget, spent, reserved, jobs_spent, jobs_reserved),) = await sql(
        db,
        """SELECT p.budget, p.spent, p.reserved,
            coalesce(sum(j.cost), 0)::int8, coalesce(sum(j.max_cost) FILTER (WHERE j.finished_at IS NULL), 0)::int8
        FROM plans p LEFT JOIN jobs j ON j.plan_id = p.id WHERE p.id = $1 GROUP BY p.id""",
        plan_id,
    )
    assert jobs_spent + jobs_reserved <= budget
    assert spent + reserved <= budget
    assert spent <= jobs_spent <= spent + reserved
