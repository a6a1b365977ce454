"""Replays: a program read again changes nothing but what is missing, whoever leads and whatever goes on meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from app.chain.devchain.config import JOB_RECEIPT, NODE_REGISTRY
from app.chain.devchain.faults import Kind
from app.chain.replay import ReplayReport, replay, slot_of
from app.chain.scanning import ScanLimits, TakenBack
from app.core.errors import Conflict, InvalidInput
from app.store.chain import cursors
from app.store.leader import Leadership
from tests.integration.chain.world import LOCK, PROGRAMS, World
from tests.integration.chain.world import world as new_world


async def again(world: World, from_slot: int = 0, chosen: tuple[str, ...] = (JOB_RECEIPT,)) -> ReplayReport:
    return await replay(
        db=world.db,
        leadership=Leadership(world.database_url, LOCK),
        rpc=world.rpc,
        programs=PROGRAMS,
        index=world.index,
        chosen=chosen,
        from_slot=from_slot,
        limits=world.limits,
        told=lambda program, listed, read: None,
    )


async def everything(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """All rows that follow from events, and all that was told of them."""
    ordered = {
        "chain_events": "signature, outer_ix, inner_ix, ordinal",
        "chain_jobs": "address",
        "chain_nodes": "address",
        "chain_payments": "signature, program",
        "nodes": "id",
        "jobs": "id",
        "events": "seq",
    }
    tables = {name for (name,) in await world.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    return {
        name: await world.rows(f"SELECT to_jsonb(t)::text FROM {name} t ORDER BY {by}")
        for name, by in ordered.items()
        if name in tables
    }


async def busy(world: World) -> None:
    """Something of everything, final and not, read once."""
    network, payer = world.network, world.client()
    operator = network.wallet("operator")
    network.register_node(operator, "node-1")
    for number in range(3):
        name = f"job-{number}"
        world.create(name)
        network.assign_job(payer.pubkey(), name, node_id="node-1", operator=operator.pubkey())
        network.submit_result(payer.pubkey(), name, operator=operator)
        network.settle_job(payer, name, operator=operator.pubkey(), processed=True)
        world.land(3)
    await world.scan_all()
    await world.settle_finality()


async def forget(world: World) -> None:
    """All that is known of the chain."""
    for table in ("events", "payments", "jobs", "nodes"):
        await world.rows(f"DELETE FROM chain_{table}")


async def test_a_replay_of_what_is_known_changes_nothing(world: World) -> None:
    await busy(world)
    before = await everything(world)
    confirmed = world.chain.slot_at("confirmed")
    first = min(event[5] for event in world.truth())
    # At the tip: from the cursor on.
    for from_slot, transactions in ((0, 12), (first, 12), (first + 1, 8), (confirmed, 4)):
        report = await again(world, from_slot)
        assert (report.transactions, report.new_events, report.by_leader) == (transactions, 0, False)
        assert await everything(world) == before
    assert (await again(world, 0, PROGRAMS.ids)).new_events == 0
    assert await everything(world) == before
    # From a transaction.
    signature = world.truth()[0][0]
    assert await slot_of(world.rpc, signature) == world.truth()[0][5]
    # And whoever leads next goes on from the tip.
    world.create("job-9")
    world.land()
    await world.lead()
    await world.scan()
    assert await world.exact(PROGRAMS.ids)


async def test_a_replay_finds_what_is_missing(world: World) -> None:
    await busy(world)
    whole = world.truth(PROGRAMS.ids)
    await forget(world)
    report = await again(world, 0, PROGRAMS.ids)
    assert report.new_events == len(whole)
    assert await world.told() == whole
    paid = await world.rows("SELECT status, payment FROM chain_jobs ORDER BY address")
    assert {status for status, _ in paid} == {"completed"}


async def test_a_replay_before_anything_was_read(world: World) -> None:
    world.backlog(50)
    assert (await again(world)).new_events == 50
    assert await world.exact()
    assert (await again(world, chosen=(NODE_REGISTRY,))).transactions == 0


async def test_a_replay_that_starts_late_leaves_nothing_out_that_was_not_read_yet(world: World) -> None:
    world.create("job-1")
    world.land()
    await world.scan()
    world.create("unread")
    world.land(5)
    world.create("job-2")
    world.land()
    await again(world, world.chain.slot_at("confirmed"))
    assert await world.exact()


async def test_a_replay_says_what_it_cannot_do(world: World) -> None:
    with pytest.raises(InvalidInput, match="not a transaction's signature"):
        await slot_of(world.rpc, "nonsense")
    with pytest.raises(InvalidInput, match="the chain has no transaction"):
        await slot_of(world.rpc, "1" * 64)
    with pytest.raises(InvalidInput, match="the chain is at slot"):
        await again(world, 10**9)
    assert await world.cursor() == {}


async def test_a_replay_gives_up_at_what_the_node_does_not_have(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.chain.replay.RETRY_S", 0.0)
    first, second = world.create("job-1", "job-2")
    world.land()
    world.faults.add(Kind.NULL_TRANSACTION, signatures={second})
    with pytest.raises(Conflict, match=second):
        await again(world)
    assert {event[0] for event in await world.told()} == {first}
    world.faults.clear()
    assert (await again(world)).new_events == 1


async def test_what_becomes_readable_leaves_the_quarantine(world: World) -> None:
    old, new = world.create("job-1", "job-2")
    world.land()
    refusal = {"code": -32015, "message": "Transaction version (9) is not supported by the requesting client."}
    world.faults.add(Kind.RPC_ERROR, methods={"getTransaction"}, count=1, value=refusal)
    await world.scan()
    assert await world.rows("SELECT signature, reason FROM chain_quarantine") == [(old, "version_unsupported")]
    # It is not looked at again by itself.
    world.faults.clear()
    assert await world.scan() == 0
    assert {event[0] for event in await world.told()} == {new}
    assert (await again(world, await slot_of(world.rpc, old))).new_events == 1
    assert await world.quarantine() == []
    assert await world.exact()


async def test_a_leader_is_sent_back(world: World) -> None:
    await busy(world)
    before = await everything(world)
    async with world.listening(scan_s=0.05) as leading:
        await world.until(lambda: _true(leading.leading))
        scanner = leading.scanners[JOB_RECEIPT]
        await world.until(lambda: _true(scanner.progress.rounds > 1))
        read = scanner.progress.read
        report = await again(world)
        assert (report.by_leader, report.transactions) == (True, 0)
        await world.until(lambda: _true(scanner.progress.read >= read + 12))
        await world.until(lambda: _caught_up(world))
    assert await everything(world) == before


async def _true(what: bool) -> bool:
    return what


async def _caught_up(world: World) -> bool:
    cursor = await world.cursor()
    return cursor["signature"] is not None and cursor["stalled"] is None


@pytest.mark.parametrize("page", [3, 1000])
async def test_a_leader_is_sent_back_in_the_middle_of_a_scan(database_url: str, page: int) -> None:
    """Again and again, and further each time: the last word counts, and nothing of it is lost."""
    async with new_world(database_url, limits=ScanLimits(page=page, chunk=2, overlap_slots=4)) as world:
        world.backlog(24, per_block=3)
        async with world.listening(scan_s=0.02) as leading:
            await world.until(world.exact)
            scanner = leading.scanners[JOB_RECEIPT]
            for from_slot in range(8, 0, -1):
                async with world.db.unit() as uow:
                    # What is sent back for is gone, so that only reading it again brings it back.
                    await uow.sql.execute("DELETE FROM chain_events WHERE slot >= $1", from_slot)
                    await uow.sql.execute("DELETE FROM chain_payments WHERE slot >= $1", from_slot)
                    await cursors.rewind(uow, JOB_RECEIPT, from_slot)
                read = scanner.progress.read
                # Sent back again while it is at it.
                await world.until(lambda: _true(scanner.progress.read > read))  # noqa: B023
            await world.until(world.exact)
            await world.until(lambda: _caught_up(world))


@pytest.mark.parametrize("page", [2, 1000])
async def test_a_scan_notices_that_it_was_sent_back(database_url: str, page: int) -> None:
    """At every step: whatever was listed before counts no more."""
    async with new_world(database_url, limits=ScanLimits(page=page, chunk=2, overlap_slots=4)) as world:
        world.backlog(9, per_block=3)
        for step in range(0, 75, 3):
            await forget(world)
            async with world.db.unit() as uow:
                await cursors.rewind(uow, JOB_RECEIPT, 3)
            await world.lead()
            scanner = await world.scanner()
            scan = asyncio.ensure_future(scanner.round(0, 0))
            for _ in range(step):
                await asyncio.sleep(0)
            async with world.db.unit() as uow:
                await cursors.rewind(uow, JOB_RECEIPT, 1)
            with suppress(TakenBack):
                await scan
            await scanner.round(0, 0)
            assert await world.exact(), step
