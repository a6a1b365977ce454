"""Which plans share a wave: small ones do, a large one has a wave of its own, and nobody waits with it."""

from __future__ import annotations

import pytest

from app.store import plan_signals
from app.store.db import Database
from graphs import plan_runtime
from tests import factories
from tests.integration.graphs.plan_drive import plan_runner, request, submit, task, view


async def plans_of(db: Database, sizes: list[int]) -> list[str]:
    """Plans of so many units each, due in that order."""
    return [await submit(db, request(task("many", for_each=list(range(size))))) for size in sizes]


async def test_a_large_plan_has_a_wave_of_its_own(db: Database) -> None:
    large, first, second = await plans_of(db, [30, 4, 5])
    async with db.unit() as uow:
        assert await plan_signals.claim_due(uow, 256, 20, 1 << 30) == ([(1, large)], True)
        async with db.unit() as beside:
            claimed, left = await plan_signals.claim_due(beside, 256, 20, 1 << 30)
            assert ([plan_id for _, plan_id in claimed], left) == ([first, second], False)


async def test_small_plans_pass_a_large_one_that_is_due_later(db: Database) -> None:
    first, large, second = await plans_of(db, [4, 30, 5])
    async with db.unit() as uow:
        claimed, left = await plan_signals.claim_due(uow, 256, 20, 1 << 30)
        assert ([plan_id for _, plan_id in claimed], left) == ([first, second], True)
        async with db.unit() as beside:
            claimed, left = await plan_signals.claim_due(beside, 256, 20, 1 << 30)
            assert ([plan_id for _, plan_id in claimed], left) == ([large], False)


async def test_requests_are_weighed_too(db: Database) -> None:
    ids = await plans_of(db, [1, 1, 1])
    async with db.unit() as uow:
        claimed, left = await plan_signals.claim_due(uow, 256, 20, 1)
        assert ([plan_id for _, plan_id in claimed], left) == (ids[:1], True)


async def test_the_runner_says_that_plans_were_left(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_runtime, "WAVE_UNITS", 5)
    await factories.node(db)
    ids = await plans_of(db, [4, 4, 4])
    runner = plan_runner(db)
    left = []
    for _ in ids:
        assert await runner.run_once() == 1
        left.append(runner.left)
    assert left == [True, True, False]
    assert [len((await view(db, plan_id)).jobs) for plan_id in ids] == [4, 4, 4]
    assert await runner.run_once() == 0
