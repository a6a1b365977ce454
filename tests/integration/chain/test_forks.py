"""Forks: what lands elsewhere is followed, what never lands again is taken back; a node that is behind is no fork."""

from __future__ import annotations

from typing import Any

import pytest
from solders.signature import Signature

from app.chain.devchain.faults import Kind
from app.chain.devchain.records import Landed
from app.chain.scanning import ScanLimits, Stalled
from app.services import offers
from tests import factories
from tests.integration.chain.world import World
from tests.integration.chain.world import world as new_world

PRICE = 10**9


async def slots(world: World) -> list[tuple[Any, ...]]:
    return await world.rows("SELECT signature, slot, commitment FROM chain_events ORDER BY slot")


async def test_what_lands_again_in_another_slot_is_the_same_event(world: World) -> None:
    (signature,) = world.create("job-1")
    world.land()
    await world.scan()
    ((_, before, _),) = await slots(world)
    world.chain.fork(2)
    world.land()
    await world.scan()
    ((_, after, _),) = await slots(world)
    assert after > before
    assert await world.exact()
    world.finalize()
    assert await world.settle_finality() == (1, 0)
    assert await slots(world) == [(signature, after, "finalized")]
    assert await world.rows("SELECT status, finalized FROM chain_jobs") == [("pending", True)]


async def test_what_landed_again_is_read_again_before_it_is_final(world: World) -> None:
    world.create("job-1", "job-2")
    world.land()
    await world.scan()
    world.chain.fork(2)
    world.finalize()
    # Finality comes first, and would promote what was said in the slot that lost.
    assert await world.settle_finality() == (0, 0)
    assert await world.scan() == 2
    assert await world.settle_finality() == (2, 0)
    assert await world.exact()


async def test_what_nothing_shows_again_is_final_where_it_is_after_all(world: World) -> None:
    world.create("job-1")
    world.land()
    await world.scan()
    world.chain.fork(2)
    world.finalize()
    assert await world.settle_finality(looks=20) == (1, 0)
    assert await world.exact()


async def test_what_never_lands_again_is_taken_back(world: World) -> None:
    kept, lost = world.create("job-1", "job-2")
    world.land()
    await world.scan()
    world.chain.fork(2, drop=[Signature.from_string(lost)])
    world.land()
    await world.scan()
    # Nothing is taken back before it is certain.
    assert await world.settle_finality(looks=5) == (0, 0)
    world.finalize()
    assert await world.settle_finality() == (1, 1)
    assert await world.exact()
    assert {(signature, commitment) for signature, _, commitment in await slots(world)} == {
        (kept, "finalized"),
        (lost, "orphaned"),
    }
    jobs = await world.rows("SELECT chain_job_id, status FROM chain_jobs ORDER BY 1")
    assert jobs == [("job-1", "pending"), ("job-2", "orphaned")]


async def test_what_was_taken_back_may_land_after_all(world: World) -> None:
    (signature,) = world.create("job-1")
    world.land()
    await world.scan()
    gone = world.chain.transaction(Signature.from_string(signature))
    assert gone is not None
    world.chain.fork(2, drop=[gone.signature])
    world.finalize()
    assert await world.settle_finality() == (0, 1)
    # Its blockhash is still good.
    world.chain.send(gone.raw, verify=False)
    world.land()
    await world.scan()
    assert await world.exact()
    assert await world.rows("SELECT status FROM chain_jobs") == [("pending",)]
    world.finalize()
    assert await world.settle_finality() == (1, 0)


async def test_what_fails_where_it_lands_again_is_taken_back(world: World) -> None:
    network, payer = world.network, world.client()
    (created,) = world.create("job-1")
    operator = network.wallet("operator")
    network.assign_job(payer.pubkey(), "job-1", node_id="node-1", operator=operator.pubkey())
    world.land()
    await world.scan()
    assert await world.rows("SELECT status FROM chain_jobs") == [("assigned",)]
    # Without the job there is nothing to assign.
    world.chain.fork(2, drop=[Signature.from_string(created)])
    world.finalize()
    await world.scan()
    assert await world.settle_finality() == (0, 2)
    assert await world.told() == []
    assert await world.rows("SELECT status FROM chain_jobs") == [("orphaned",)]


async def test_a_payment_that_is_forked_out_leaves_the_job_waiting(world: World) -> None:
    network, payer, waves = world.network, world.client(), factories.runner(world.db)
    operator = network.wallet("operator")
    await factories.node(world.db, wallet=str(operator.pubkey()))
    (offer,) = await factories.accepted(world.db, waves, requirements_hash="a1" * 32)
    network.create_job(payer, "job-1", price=PRICE, requirements_hash="a1" * 32)
    network.assign_job(payer.pubkey(), "job-1", node_id="node-1", operator=operator.pubkey())
    network.submit_result(payer.pubkey(), "job-1", operator=operator)
    await offers.report(world.db, [offers.new_report(offer.id, offer.node_id, ok=True)])
    world.land()

    async def settlement() -> str:
        await world.scan()
        await factories.run_waves(waves)
        return str((await world.rows("SELECT settlement FROM jobs"))[0][0])

    def pay() -> Landed:
        paid = network.settle_job(payer, "job-1", operator=operator.pubkey())
        world.land()
        return paid

    assert await settlement() == "awaiting"
    paid = pay()
    assert await settlement() == "observed"
    world.chain.fork(2, drop=[paid.signature])
    world.finalize()
    assert await world.settle_finality() == (3, 1)
    assert await settlement() == "awaiting"
    assert await world.rows("SELECT payment FROM chain_jobs") == [("none",)]
    # Paid again, for good.
    again = pay()
    assert again.signature != paid.signature
    assert await settlement() == "observed"
    world.finalize()
    assert await world.settle_finality() == (1, 0)
    assert await settlement() == "settled"
    history = await world.rows("SELECT to_state, reason FROM settlement_history ORDER BY seq")
    assert [to for to, _ in history] == ["observed", "awaiting", "observed", "settled"]


@pytest.mark.parametrize("stalled", ["listing", "reading"])
async def test_a_fork_under_a_scan_that_is_kept(database_url: str, stalled: str) -> None:
    """``stalled``: where the scan was when the fork took what it had listed."""
    async with new_world(database_url, limits=ScanLimits(page=3, chunk=2)) as world:
        world.backlog(10, per_block=3)
        fault = Kind.EMPTY_PAGE if stalled == "listing" else Kind.NULL_TRANSACTION
        world.create("before")
        world.land()
        await world.scan()
        signatures = world.create(*(f"job-{number}" for number in range(10)))
        world.land()
        world.faults.add(fault, skip=1 if stalled == "listing" else 2)
        with pytest.raises(Stalled):
            await world.scan()
        # What is missing near the tip may be a fork's doing: then the list itself is out of date.
        assert ((await world.cursor())["scan_slot"] is not None) == (stalled == "listing")
        world.faults.clear()
        world.chain.fork(3, drop=[Signature.from_string(signatures[number]) for number in (0, 4, 7, 8)])
        world.land()
        for _ in range(2):
            try:
                await world.scan()
            except Stalled:
                assert (await world.cursor())["scan_slot"] is None
        world.finalize()
        await world.settle_finality()
        assert await world.exact()
        assert await world.quarantine() == []


async def test_a_node_that_is_behind_takes_nothing_back(world: World) -> None:
    world.create("job-1", "job-2")
    world.finalize()
    await world.scan()
    await (await world.finality()).look()
    # What answers from now on has not seen these slots.
    world.faults.add(Kind.LAG, value=50)
    assert await world.settle_finality(looks=10) == (0, 0)
    with pytest.raises(Stalled, match="it is behind"):
        await world.scan()
    world.faults.clear()
    assert await world.settle_finality(looks=1) == (2, 0)


async def test_a_cursors_transaction_that_is_forked_out_stops_nothing(world: World) -> None:
    """The only one of its program, so that no list shows anything at or before the cursor any more."""
    (signature,) = world.create("job-1")
    world.land()
    await world.scan()
    world.chain.fork(2, drop=[Signature.from_string(signature)])
    world.land()
    assert await world.scan() == 0
    world.create("job-2")
    world.land()
    assert await world.scan() == 1
    assert (await world.cursor())["stalled"] is None
    world.finalize()
    assert await world.settle_finality() == (1, 1)
    assert await world.exact()
