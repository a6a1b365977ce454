"""The view of the nodes: it misses nothing, however late a commit is, and whatever becomes of the news."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest
import redis.asyncio as valkey

from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker.matchmaker import Matchmaker
from app.services import nodes
from app.services.deltas import pack
from app.services.network import NetworkFigures
from app.services.views import PATIENCE_S, REPAIR_S, ViewKeeper
from app.store import node_feed
from app.store import nodes as node_rows
from app.store.bus import Bus, HintMessage
from app.store.db import Database, UnitOfWork
from app.store.deltas import FIELD, STREAM, DeltaStream
from app.store.nodes import SlotChange
from graphs.runtime import WaveLimits, WaveRunner
from tests import factories
from tests.factories import sql
from tests.integration.graphs.invariants import check_view
from tests.support.own_valkey import own_valkey

NOWHERE = "redis://127.0.0.1:1/0"
NEVER_S = 3600.0
"""Between looks at the database: what comes in has come as news."""

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


@asynccontextmanager
async def replica(
    db: Database, url: str, *, refresh_s: float = NEVER_S, looks: bool = False
) -> AsyncIterator[ViewKeeper]:
    """A process's view that has looked once and hears what is sent from now on; ``looks``: it goes on looking."""
    stream, stop = DeltaStream(url), asyncio.Event()
    keeper = ViewKeeper(db, Matchmaker(), refresh_s, stream)
    await keeper.refresh()
    tasks = [asyncio.create_task(keeper.listen(stop))]
    if looks:
        tasks.append(asyncio.create_task(keeper.run(stop)))
    try:
        if url != NOWHERE:
            await until(lambda: stream.alive)
        yield keeper
    finally:
        # A cancellation alone may be lost in the client's own time-outs, and waiting alone takes a second.
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await stream.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def held(keeper: ViewKeeper, node_id: str) -> NodeRecord:
    """The node as the view has it."""
    found = keeper.matchmaker.view.get(node_id)
    assert found is not None
    return found


async def commit(db: Database, sender: ViewKeeper, node_id: str, **change: int) -> NodeRecord:
    """Change the node in a commit whose news the sender tells; its row."""
    async with db.unit() as uow:
        rows = await node_rows.apply(uow, [SlotChange(node_id, **change)])
    async with sender.lock:
        sender.committed(list(rows.values()))
    return rows[node_id]


async def test_what_one_process_commits_others_know_without_looking(db: Database, redis_url: str) -> None:
    for _ in range(3):
        await factories.node(db, capacity=8)
    async with replica(db, redis_url) as one, replica(db, redis_url) as other:
        waves = WaveRunner(db, one, WaveLimits())
        await factories.submit(db, 12)
        assert (await waves.run_once()).signals == 12
        rows = [held(one, row[0]) for row in await sql(db, "SELECT id FROM nodes")]
        assert sum(row.active_jobs for row in rows) == 12
        for row in rows:
            await until(lambda row=row: held(other, row.id) == row)  # type: ignore[misc]
        await check_view(db, other)


async def test_one_that_starts_late_has_what_was_told_before(db: Database, redis_url: str) -> None:
    node_id = await factories.node(db, capacity=8)
    async with replica(db, redis_url) as sender:
        await commit(db, sender, node_id, slots=3)
        async with replica(db, redis_url) as late:
            assert held(late, node_id).active_jobs == 3
            row = await commit(db, sender, node_id, slots=2)
            await until(lambda: held(late, node_id) == row)


async def test_repeated_reordered_foreign_and_garbled_entries_do_no_harm(db: Database, redis_url: str) -> None:
    node_id = await factories.node(db, capacity=64, gpus=64)
    async with replica(db, redis_url) as sender, replica(db, redis_url) as other:
        rows = [await commit(db, sender, node_id, slots=1) for _ in range(20)]
        stranger = replace(rows[0], id="node_of_nobody", version=99)
        impossible = replace(rows[0], version=rows[-1].version + 1, active_jobs=65)
        entries = [pack([row]) for row in rows] * 3 + [pack([stranger]), pack([impossible, stranger]), b"", b"HND1"]
        random.Random(1).shuffle(entries)
        async with valkey.Redis.from_url(redis_url) as client:
            for entry in entries:
                await client.xadd(STREAM, {FIELD: entry})
            await client.xadd(STREAM, {"of": "another kind"})
        last = await commit(db, sender, node_id, slots=1)
        await until(lambda: held(other, node_id) == last)
        assert len(other.matchmaker.view) == 1
        await check_view(db, other)


async def test_a_look_mends_what_the_news_left_out(db: Database, redis_url: str) -> None:
    node_id = await factories.node(db, capacity=8, price=5, wallet="moving")
    async with replica(db, redis_url) as sender, replica(db, redis_url) as other:
        await nodes.register(db, factories.OWNER, factories.registration(wallet="moving", capacity=8, price=7))
        row = await commit(db, sender, node_id, slots=2)
        await until(lambda: held(other, node_id).version == row.version)
        # Its version is the latest, and its price was no news.
        assert held(other, node_id) == replace(row, price=5)
        await other.refresh()
        assert held(other, node_id) == row
        await check_view(db, other)


async def test_an_emptied_stream_goes_on(db: Database, redis_url: str) -> None:
    node_id = await factories.node(db, capacity=8)
    async with (
        replica(db, redis_url) as sender,
        replica(db, redis_url) as other,
        valkey.Redis.from_url(redis_url) as all_,
    ):
        for slots in (1, 2):
            await all_.flushall()
            row = await commit(db, sender, node_id, slots=slots)
            await until(lambda row=row: held(other, node_id) == row)  # type: ignore[misc]


async def test_while_valkey_is_away_the_database_is_looked_at_and_after_it_news_come_again(db: Database) -> None:
    node_id = await factories.node(db, capacity=8)
    with own_valkey() as server:
        async with replica(db, server.url) as sender, replica(db, server.url, refresh_s=0.02, looks=True) as other:
            server.stop()
            row = await commit(db, sender, node_id, slots=1)
            await until(lambda: held(other, node_id) == row)
            server.start()
            async with replica(db, server.url) as third:
                while held(third, node_id).version == row.version:
                    await commit(db, sender, node_id, completed=1)
                    await asyncio.sleep(0.02)
                last = await commit(db, sender, node_id, slots=2)
                await until(lambda: held(third, node_id) == last and held(other, node_id) == last)


async def test_without_valkey_it_looks_as_often_as_it_is_told_to(db: Database) -> None:
    async with replica(db, NOWHERE, refresh_s=0.02, looks=True) as keeper:
        node_id = await factories.node(db)
        await until(lambda: node_id in keeper.matchmaker.view)


async def test_a_hint_has_changes_looked_at_that_are_no_news(
    db: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.views.REPAIR_S", NEVER_S)
    monkeypatch.setattr("app.services.views.SPARED", 10**6)
    bus = Bus(redis_url)
    db.on_commit = bus.publish
    async with replica(db, redis_url, refresh_s=0.01, looks=True) as keeper:

        async def heard(message: HintMessage) -> None:
            if message.view:
                keeper.nudge()

        stop = asyncio.Event()
        listening = asyncio.create_task(bus.listen(heard, stop))
        registered: list[str] = []
        async with asyncio.timeout(20):
            # The listener hears what is said once it listens.
            while not any(node_id in keeper.matchmaker.view for node_id in registered):
                registered.append(await factories.node(db))
                await asyncio.sleep(0.02)
        stop.set()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    await bus.close()


async def test_the_age_is_that_of_the_last_look_or_of_the_streams_last_word(db: Database, redis_url: str) -> None:
    assert ViewKeeper(db, Matchmaker(), 1.0, DeltaStream(redis_url)).age_s == float("inf")
    async with replica(db, redis_url) as keeper:
        keeper._refreshed -= 5.0
        assert keeper.age_s < 5.0
        keeper.nudge()
        assert 5.0 <= keeper.age_s < NEVER_S
        await keeper.refresh()
        keeper._refreshed -= PATIENCE_S + 1
        assert keeper.age_s > PATIENCE_S


async def test_with_the_streams_word_a_look_is_good_for_longer(db: Database, redis_url: str) -> None:
    async with replica(db, redis_url, refresh_s=0.25) as keeper:
        keeper._refreshed -= REPAIR_S / 2
        before = keeper._refreshed
        await keeper.ensure_fresh()
        assert keeper._refreshed == before
        keeper.nudge()
        await keeper.ensure_fresh()
        assert keeper._refreshed > before


async def test_a_node_that_falls_silent_leaves_without_a_row_and_comes_back_with_a_beat(db: Database) -> None:
    node_id = await factories.node(db)
    keeper = ViewKeeper(db, Matchmaker(), 0.0)
    keeper.matchmaker.view.offline_after_s = 300.0
    before = await sql(db, "SELECT version, state, changed_in FROM nodes")

    async def available() -> int:
        await keeper.refresh()
        return keeper.matchmaker.availability(Requirements()).available_now

    assert await available() == 1
    await sql(db, "UPDATE node_heartbeats SET last_seen_at = now() - interval '302 s'")
    keeper = ViewKeeper(db, Matchmaker(), 0.0)
    keeper.matchmaker.view.offline_after_s = 300.0
    assert await available() == 0
    assert held(keeper, node_id).state is NodeState.ONLINE
    await nodes.heard(db, [(node_id, None)])
    assert await available() == 1
    assert await sql(db, "SELECT version, state, changed_in FROM nodes") == before


async def test_both_ways_of_loading_all_nodes_come_to_the_same(db: Database) -> None:
    for number in range(40):
        region, model = random.Random(number).choice([("EU", "a100"), ("", "rtx 4090"), ("NA", "mi300x é")])
        await factories.node(db, region=region, gpu_model=model, price=number + 1, capacity=1 + number % 8)
    await sql(db, "UPDATE nodes SET state = 'draining', penalty = 30, trial = 1, reputation = 900 WHERE capacity = 3")
    async with db.unit() as uow:
        assert (await node_feed.load_all(uow))[0] is not None
    await check_view(db, ViewKeeper(db, Matchmaker(), 1.0))
    # An id that does not fit the packed form, as none is made.
    await sql(db, "UPDATE nodes SET id = 'nöde' WHERE price = 1")
    async with db.unit() as uow:
        assert (await node_feed.load_all(uow))[0] is None
    await check_view(db, ViewKeeper(db, Matchmaker(), 1.0))
