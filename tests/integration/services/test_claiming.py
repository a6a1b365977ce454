"""Refused claims of a wave: the next candidate, the true row in the view, what the wave gives back."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.services import nodes, offers, placing
from app.services.waves import Wave
from app.store import claims
from app.store import nodes as node_rows
from app.store.db import Database
from graphs.runtime import WaveRunner
from tests import factories
from tests.factories import sql
from tests.integration.graphs import invariants


async def offered(db: Database) -> Counter[str]:
    """Open offers by node."""
    return Counter(offer.node_id for offer in await factories.all_offers(db))


def held(waves: WaveRunner, node_id: str) -> NodeRecord:
    row = waves.views.matchmaker.view.get(node_id)
    assert row is not None
    return row


async def one_wave(waves: WaveRunner, monkeypatch: pytest.MonkeyPatch) -> Wave:
    """Run a wave on the view as it is, and return it."""
    seen: list[Wave] = []
    match = placing.match

    def noted(wave: Wave, *arguments: Any, **options: Any) -> None:
        seen.append(wave)
        match(wave, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(placing, "match", noted)
        report = await waves.run_once()
    assert not report.failed
    return seen[-1]


async def test_a_refused_job_takes_its_next_candidate_without_another_match(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, dearer, far = [await factories.node(db, price=price, capacity=4) for price in (1, 2, 3)]
    waves = factories.runner(db)
    await waves.views.refresh()
    await nodes.drain(db, await nodes.any_node(db, gone), "operator")
    await sql(db, "UPDATE nodes SET price = 50, version = version + 1 WHERE id = $1", dearer)
    (job_id,) = await factories.submit(db, policy="cheapest", requirements=Requirements(max_price=10))
    wave = await one_wave(waves, monkeypatch)
    assert wave.rounds == 1
    assert wave.refused == {job_id: [(gone, "offline"), (dearer, "price")]}
    assert wave.chosen[job_id].node_id == far
    assert await offered(db) == {far: 1}
    assert (held(waves, gone).state, held(waves, dearer).price, held(waves, far).active_jobs) == ("draining", 50, 1)
    await invariants.check(db, waves.views)


async def test_a_node_held_by_another_wave_is_passed_over(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = [await factories.node(db, price=price) for price in (1, 2)]
    waves = factories.runner(db)
    await waves.views.refresh()
    (job_id,) = await factories.submit(db, policy="cheapest")
    async with db.unit() as other:
        await node_rows.lock(other, [near])
        wave = await one_wave(waves, monkeypatch)
    assert wave.refused == {job_id: [(near, "contended")]}
    assert await offered(db) == {far: 1}
    assert (held(waves, near).active_jobs, held(waves, far).active_jobs) == (0, 1)


async def test_jobs_that_one_node_has_no_room_for_spread_over_the_next(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = [await factories.node(db, price=price, capacity=8) for price in (1, 2)]
    waves = factories.runner(db)
    await waves.views.refresh()
    await sql(db, "UPDATE nodes SET capacity = 3, version = version + 1 WHERE id = $1", near)
    await factories.submit(db, 5, policy="cheapest")
    wave = await one_wave(waves, monkeypatch)
    assert wave.rounds == 1
    assert await offered(db) == {near: 3, far: 2}
    assert Counter(reason for told in wave.refused.values() for _, reason in told) == {"busy": 2}
    assert (held(waves, near).active_jobs, held(waves, far).active_jobs) == (3, 2)
    await invariants.check(db, waves.views)


async def test_matched_anew_when_no_candidate_is_left(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    waves = factories.runner(db)
    near = [await factories.node(db, price=1) for _ in range(waves.views.matchmaker.top_n)]
    last = await factories.node(db, price=2)
    await waves.views.refresh()
    await sql(db, "UPDATE nodes SET vram_gb = 8, version = version + 1 WHERE id = ANY($1::text[])", near)
    (job_id,) = await factories.submit(db, policy="cheapest", requirements=Requirements(min_vram_gb=16))
    wave = await one_wave(waves, monkeypatch)
    assert wave.rounds == 2
    assert {node_id for node_id, _ in wave.refused[job_id]} == set(near)
    assert await offered(db) == {last: 1}


async def test_slots_that_the_wave_gives_back_can_be_claimed_in_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    node_id = await factories.node(db, capacity=1)
    waves = factories.runner(db)
    (declining,) = await factories.submit(db)
    await factories.run_waves(waves)
    (offer,) = await factories.all_offers(db)
    await offers.decline(db, node_id, offer.id, "busy")
    (other,) = await factories.submit(db)
    # A view that already knows of the decline.
    view = waves.views.matchmaker.view
    view.heal([replace(held(waves, node_id), active_jobs=0)])
    wave = await one_wave(waves, monkeypatch)
    assert wave.chosen[other].node_id == node_id and declining not in wave.chosen
    assert await offered(db) == {node_id: 1}
    assert held(waves, node_id).active_jobs == 1
    await waves.views.refresh()
    await invariants.check(db, waves.views)


async def test_a_wave_that_fails_leaves_the_view_as_committed(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = [await factories.node(db, price=price, capacity=8) for price in (1, 2)]
    waves = factories.runner(db, poison_tries=1)
    await waves.views.refresh()
    await sql(db, "UPDATE nodes SET capacity = 3, version = version + 1 WHERE id = $1", near)
    await factories.submit(db, 5, policy="cheapest")
    async with db.unit() as uow:
        # The wave gets as far as its last statements, and fails there.
        await uow.sql.execute("ALTER TABLE job_history ADD CONSTRAINT refusing CHECK (to_state <> 'offered') NOT VALID")
    assert (await waves.run_once()).failed
    assert (held(waves, near).active_jobs, held(waves, near).capacity, held(waves, far).active_jobs) == (0, 3, 0)
    assert await sql(db, "SELECT sum(active_jobs) FROM nodes") == [(0,)]


async def test_a_node_that_another_wave_is_about_to_let_go_is_waited_for(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    best, _ = [await factories.node(db, price=price) for price in (1, 2)]
    waves = factories.runner(db)
    await waves.views.refresh()
    await factories.submit(db, policy="cheapest")
    asked: list[set[str]] = []
    async with AsyncExitStack() as other:
        uow = await other.enter_async_context(db.unit())
        await uow.sql.execute("SELECT 1 FROM nodes WHERE id = $1 FOR UPDATE", best)
        claim = claims.claim

        async def commits_meanwhile(*arguments: Any, **options: Any) -> claims.Claimed:
            claimed = await claim(*arguments, **options)
            asked.append(claimed.contended)
            await other.aclose()
            return claimed

        monkeypatch.setattr(claims, "claim", commits_meanwhile)
        wave = await one_wave(waves, monkeypatch)
    assert asked == [{best}, set()]
    assert not wave.contended and not wave.refused
    assert await offered(db) == {best: 1}
    await invariants.check(db, waves.views)
