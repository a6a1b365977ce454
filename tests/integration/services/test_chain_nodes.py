"""Nodes on chain and the engine's nodes: one node each, in the state that the chain wants, whoever comes first."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from app.core.money import MAX_AMOUNT
from app.core.states import NODE_MOVES, NodeState, check_move
from app.services import nodes
from app.services.registration import register_many
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, STRANGER, sql
from tests.integration.services.chain_cases import FINALIZED, ChainNodeCase, World, landed_in

NODE = ChainNodeCase()


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def engine_node(world: World, address: str = NODE.address) -> tuple[Any, ...]:
    """Account, wallet, state and region of the node that belongs to the account."""
    return await world.one(
        """SELECT n.account, n.wallet, n.state, n.region FROM chain_nodes c JOIN nodes n ON n.id = c.node_id
        WHERE c.address = $1""",
        address,
    )


async def state(world: World) -> str:
    return str((await engine_node(world))[2])


async def history(world: World) -> list[tuple[Any, ...]]:
    return await sql(world.db, "SELECT from_state, to_state, reason, actor FROM node_history ORDER BY id")


async def test_a_node_appears_with_its_standing(world: World) -> None:
    assert await world.record(NODE.registered(5), accounts=NODE.account()) == 1
    assert await engine_node(world) == ("chain:Owner", "Owner", "registered", "EU")
    assert await world.one("SELECT stake, reputation, jobs_completed, price, gpus, capacity FROM nodes") == (
        5_000, 140, 7, 100_000_000, 0, 1,
    )  # fmt: skip
    assert await world.one("SELECT owner, chain_node_id, location, total_earned, registered FROM chain_nodes") == (
        "Owner", "rig-1", "Berlin, DE", 9, True,
    )  # fmt: skip
    assert await history(world) == [(None, "registered", "chain", "chain")]
    assert await sql(world.db, "SELECT kind FROM events") == [("node_registered",)]
    assert await sql(world.db, "SELECT count(*) FROM node_heartbeats") == [(1,)]


async def test_standing_beyond_the_columns_is_clipped(world: World) -> None:
    huge = NODE.account(stake_amount=2**64 - 1, reputation_score=65_535, jobs_completed=2**64 - 1)
    await world.record(NODE.registered(5), accounts=huge)
    assert await world.one("SELECT stake, reputation, jobs_completed FROM nodes") == (MAX_AMOUNT, 1000, 2**31 - 1)
    assert await world.one("SELECT stake, jobs_completed FROM chain_nodes") == (2**64 - 1, 2**64 - 1)


async def test_standing_follows_the_chain_and_nothing_else(world: World) -> None:
    await world.record(NODE.registered(5), accounts=NODE.account())
    await sql(world.db, "UPDATE nodes SET reputation = 150, jobs_failed = 3")
    await world.record(NODE.status("Online", 6), accounts=NODE.account())
    assert await world.one("SELECT reputation, jobs_failed FROM nodes") == (150, 3)
    await world.record(NODE.status("Online", 7), accounts=NODE.account(stake_amount=6_000))
    assert await world.one("SELECT stake, reputation, jobs_failed FROM nodes") == (6_000, 140, 3)


async def test_the_worker_comes_first(world: World) -> None:
    node_id = await factories.node(world.db, wallet="Owner")
    await world.record(NODE.registered(5), accounts=NODE.account())
    assert await engine_node(world) == ("acme", "Owner", "online", "EU")
    assert await world.one("SELECT id, stake FROM nodes") == (node_id, 5_000)
    assert ("chain",) not in await sql(world.db, "SELECT reason FROM node_history")


async def test_a_node_keeps_its_standing_while_its_account_is_unknown(world: World) -> None:
    await factories.node(world.db, wallet="Owner")
    await sql(world.db, "UPDATE nodes SET reputation = 150, jobs_completed = 50")
    await world.record(NODE.registered(5))
    assert await world.one("SELECT reputation, jobs_completed FROM nodes") == (150, 50)
    await world.record(NODE.registered(5), NODE.status("Online", 6), accounts=NODE.account())
    assert await world.one("SELECT reputation, jobs_completed FROM nodes") == (140, 7)


async def test_the_chain_comes_first(world: World) -> None:
    await world.record(NODE.registered(5), accounts=NODE.account())
    ((made,),) = await sql(world.db, "SELECT id FROM nodes")
    node_id, now, created = await nodes.register(world.db, OWNER, factories.registration(wallet="Owner", fresh=True))
    assert (node_id, now, created) == (made, NodeState.ONLINE, False)
    assert await engine_node(world) == ("acme", "Owner", "online", "EU")
    assert await world.one("SELECT stake, gpu_model, capacity FROM nodes") == (5_000, "a100", 2)
    with pytest.raises(Exception, match="another account"):
        await nodes.register(world.db, STRANGER, factories.registration(wallet="Owner"))


async def test_many_workers_take_over_at_once(world: World) -> None:
    cases = [ChainNodeCase(owner=f"Owner{n}", name=f"rig-{n}", address=f"N{n}") for n in range(30)]
    await world.record(*(case.registered(n) for n, case in enumerate(cases)))
    await world.record(cases[3].deregistered(90), cases[4].status("Suspended", 91))
    await nodes.register(world.db, STRANGER, factories.registration(wallet="Owner5"))
    wishes = [(OWNER, factories.registration(wallet=f"Owner{n}", fresh=True)) for n in range(40)]
    answers = await asyncio.gather(register_many(world.db, wishes), register_many(world.db, wishes[::-1]))
    for given in zip(answers[0], answers[1][::-1], strict=True):
        assert isinstance(given[0], Exception) == isinstance(given[1], Exception)
    kept = answers[0]
    assert [n for n, one in enumerate(kept) if isinstance(one, Exception)] == [5]
    said = [one for one in kept if not isinstance(one, Exception)]
    assert sum(now is NodeState.ONLINE for _, now, _ in said) == 38
    assert {now for _, now, _ in said} == {NodeState.ONLINE, NodeState.SUSPENDED}
    assert await sql(world.db, "SELECT account, count(*) FROM nodes GROUP BY 1 ORDER BY 1") == [
        ("acme", 39),
        ("other", 1),
    ]
    assert await sql(world.db, "SELECT count(*) FROM events WHERE kind = 'node_online'") == [(39,)]
    assert await sql(world.db, "SELECT count(*) FROM node_heartbeats") == [(40,)]


async def test_workers_and_the_chain_at_once(world: World) -> None:
    cases = [ChainNodeCase(owner=f"Owner{n}", name=f"rig-{n}", address=f"N{n}") for n in range(20)]
    wishes = [(OWNER, factories.registration(wallet=f"Owner{n}")) for n in range(20)]
    for part in range(4):
        some = slice(part * 5, part * 5 + 5)
        await asyncio.gather(
            world.record(*(case.registered(1) for case in cases[some])), register_many(world.db, wishes[some][::-1])
        )
    assert await sql(world.db, "SELECT count(*), count(DISTINCT node_id) FROM chain_nodes") == [(20, 20)]
    assert await sql(world.db, "SELECT state, account, count(*) FROM nodes GROUP BY 1, 2") == [("online", "acme", 20)]


async def test_one_owner_with_several_nodes(world: World) -> None:
    second, third = ChainNodeCase(name="rig-2", address="N2"), ChainNodeCase(name="rig-3", address="N3")
    await world.record(NODE.registered(5), second.registered(6))
    assert (await engine_node(world))[1] == "Owner"
    assert (await engine_node(world, "N2"))[:2] == ("chain:Owner", "N2")
    # The first is gone for good: the owner's node is free for the third.
    await world.record(NODE.deregistered(7), third.registered(7))
    assert (await engine_node(world, "N3"))[1:3] == ("Owner", "registered")
    assert await sql(world.db, "SELECT node_id FROM chain_nodes WHERE address = $1", NODE.address) == [(None,)]
    await world.record(NODE.registered(8))
    assert (await engine_node(world))[1:3] == (NODE.address, "registered")


async def test_suspended_and_back(world: World) -> None:
    await factories.node(world.db, wallet="Owner", capacity=4)
    (offer,) = await factories.accepted(world.db, factories.runner(world.db))
    await world.record(NODE.registered(5))
    suspended = NODE.status("Suspended", 6)
    await world.record(suspended)
    assert await state(world) == "suspended"
    assert await world.signals("lease_lost") == [("lease_lost", offer.job_id)]
    await factories.run_waves(factories.runner(world.db))
    assert await factories.state_of(world.db, offer.job_id) == "pending"
    await nodes.heard(world.db, [(offer.node_id, None)])
    assert await state(world) == "suspended"
    await world.record(NODE.status("Online", 7))
    assert await state(world) == "offline"
    await nodes.heard(world.db, [(offer.node_id, None)])
    assert await state(world) == "online"
    assert (await history(world))[2:4] == [
        ("online", "suspended", "chain", "chain"), ("suspended", "offline", "chain", "chain"),
    ]  # fmt: skip


async def test_offline_drains_and_online_resumes(world: World) -> None:
    await factories.node(world.db, wallet="Owner")
    await world.record(NODE.registered(5))
    gone = NODE.status("Offline", 6)
    await world.record(gone)
    assert await state(world) == "draining"
    await world.orphan(gone)
    assert await state(world) == "online"
    await world.record(landed_in(gone, 8))
    assert await state(world) == "draining"
    await world.record(NODE.status("Online", 9))
    assert await state(world) == "online"


async def test_what_an_operator_drained_stays_drained(world: World) -> None:
    node_id = await factories.node(world.db, wallet="Owner")
    registered = NODE.registered(5)
    await world.record(registered)
    await nodes.drain(world.db, await nodes.any_node(world.db, node_id), "operator")
    await world.promote(registered)
    assert await state(world) == "draining"


async def test_deregistered_and_registered_again(world: World) -> None:
    node_id = await factories.node(world.db, wallet="Owner")
    (offer,) = await factories.accepted(world.db, factories.runner(world.db))
    await world.record(NODE.registered(5))
    gone = NODE.deregistered(6)
    await world.record(gone)
    assert await state(world) == "deregistered"
    assert await world.signals("lease_lost") == [("lease_lost", offer.job_id)]
    await world.orphan(gone)
    assert await state(world) == "registered"
    await world.record(landed_in(gone, 7), NODE.registered(8))
    assert await state(world) == "registered"
    assert await sql(world.db, "SELECT id FROM nodes") == [(node_id,)]
    assert await world.one("SELECT kind FROM events WHERE kind = 'node_deregistered'") == ("node_deregistered",)


async def test_a_registration_taken_back(world: World) -> None:
    registered = NODE.registered(5)
    await world.record(registered, accounts=NODE.account())
    assert await world.orphan(registered) == 1
    assert await state(world) == "deregistered"
    assert await world.orphan(registered) == 0
    assert await world.record(landed_in(registered, 9)) == 1
    assert await state(world) == "registered"
    await world.promote(registered)
    assert await world.orphan(registered) == 0
    assert await world.one("SELECT slot, registered FROM chain_nodes") == (5, True)


async def test_registered_and_gone_before_anybody_looked(world: World) -> None:
    await world.record(NODE.registered(5, commitment=FINALIZED), NODE.deregistered(6, commitment=FINALIZED))
    assert await sql(world.db, "SELECT count(*) FROM nodes") == [(0,)]
    assert await world.one("SELECT registered, node_id FROM chain_nodes") == (False, None)


async def test_events_before_the_registration_wait_for_it(world: World) -> None:
    early, late = NODE.status("Suspended", 6), NODE.registered(5)
    assert await world.record(early) == 1
    assert await sql(world.db, "SELECT count(*) FROM chain_nodes") == [(0,)]
    await world.record(late)
    assert await state(world) == "suspended"


async def test_every_order_and_every_fork_of_a_nodes_events_ends_alike(db: Database) -> None:
    world = World(db)
    await factories.node(db, wallet="Owner")
    events = [
        NODE.registered(1),
        NODE.status("Offline", 2),
        NODE.deregistered(3),
        NODE.registered(3),
        NODE.status("Suspended", 4),
    ]
    for order in itertools.islice(itertools.permutations(events), 0, 120, 17):
        for one in order:
            await world.record(one)
        await world.orphan(*order[1:4])
        await world.record(*(landed_in(one, one.slot) for one in order[1:4]))
        assert await state(world) == "suspended", [one.event.name for one in order]
        await world.orphan(*events)
        assert await state(world) == "deregistered"
    for source, target in await sql(db, "SELECT from_state, to_state FROM node_history WHERE from_state IS NOT NULL"):
        check_move(NODE_MOVES, NodeState(source), NodeState(target))
