"""The view of the nodes: it misses nothing, however late a commit is."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from app.matchmaker.matchmaker import Matchmaker
from app.services.network import NetworkFigures
from app.services.views import ViewKeeper
from app.store.db import Database, UnitOfWork
from tests import factories
from tests.integration.graphs.invariants import check_view

TOUCH = """UPDATE nodes SET reputation = $2, version = version + 1, changed_in = pg_current_xact_id()::text::bigint
    WHERE id = $1"""


async def test_a_commit_that_comes_after_later_ones_were_seen_is_not_missed(db: Database) -> None:
    slow, quick = [await factories.node(db) for _ in range(2)]
    keeper = factories.runner(db).views
    await keeper.refresh()

    def reputation(node_id: str) -> int:
        held = keeper.matchmaker.view.get(node_id)
        assert held is not None
        return held.reputation

    async with db.unit() as late:
        await late.sql.execute(TOUCH, slow, 700)
        for value in (800, 801):
            async with db.unit() as uow:
                await uow.sql.execute(TOUCH, quick, value)
            await keeper.refresh()
            assert (reputation(slow), reputation(quick)) == (100, value)
    await keeper.refresh()
    assert (reputation(slow), reputation(quick)) == (700, 801)
    await check_view(db, keeper)


async def test_a_view_that_is_fresh_enough_is_left_alone(db: Database) -> None:
    keeper = factories.runner(db).views
    keeper.refresh_s = 3600.0
    await keeper.ensure_fresh()
    await factories.node(db)
    await keeper.ensure_fresh()
    assert len(keeper.matchmaker.view) == 0
    await keeper.refresh()
    assert len(keeper.matchmaker.view) == 1


async def test_many_that_find_the_view_or_the_figures_old_cost_one_look(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    views, figures = ViewKeeper(db, Matchmaker(), 60.0), NetworkFigures(db, 60.0)
    looks = 0
    opened = db.unit

    def counted() -> AbstractAsyncContextManager[UnitOfWork]:
        nonlocal looks
        looks += 1
        return opened()

    monkeypatch.setattr(db, "unit", counted)
    await asyncio.gather(*(views.ensure_fresh() for _ in range(20)), *(figures.current() for _ in range(20)))
    assert looks == 2
