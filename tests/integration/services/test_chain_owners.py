"""Owners of several nodes on chain: each node there has one of the engine's, in whatever order they come and go."""

from __future__ import annotations

from app.store.db import Database
from tests.factories import sql
from tests.integration.services.chain_cases import ChainNodeCase, World

FIRST = ChainNodeCase(name="rig-1", address="NodeAccount1")
SECOND = ChainNodeCase(name="rig-2", address="NodeAccount2")


async def test_a_node_that_comes_back_keeps_its_place_when_another_comes_with_it(db: Database) -> None:
    world = World(db)
    await world.record(FIRST.registered(5))
    await world.record(FIRST.deregistered(6))
    await world.record(FIRST.registered(8), SECOND.registered(9))
    assert await sql(
        db, "SELECT c.address, n.wallet, n.state FROM chain_nodes c JOIN nodes n ON n.id = c.node_id ORDER BY 1"
    ) == [("NodeAccount1", "Owner", "registered"), ("NodeAccount2", "NodeAccount2", "registered")]
