"""Nodes that register together are registered as if each had come alone."""

from __future__ import annotations

import asyncio

from app.core.errors import Conflict
from app.core.states import NodeState
from app.services import nodes
from app.services.nodes import Registration
from app.services.registration import register_many
from app.store.db import Database
from tests.factories import OWNER, STRANGER


def described(wallet: str, model: str = "t4") -> Registration:
    return Registration(wallet, model, 2, 16, 1, "EU", 100_000_000, 2, {"gpu_model": model})


async def test_new_ones_are_online_with_their_history_and_events(db: Database) -> None:
    answers = await register_many(db, [(OWNER, described(f"w{number}")) for number in range(5)])
    ids = []
    for answer in answers:
        assert not isinstance(answer, Exception)
        assert answer[1:] == (NodeState.ONLINE, True)
        ids.append(answer[0])
    async with db.unit() as uow:
        moves = await uow.sql.fetch("SELECT node_id, from_state, to_state FROM node_history ORDER BY id")
        told = await uow.sql.fetch("SELECT node_id, kind FROM events ORDER BY seq")
        alive = await uow.sql.fetchval("SELECT count(*) FROM node_heartbeats JOIN nodes ON nodes.id = node_id")
    assert [tuple(row) for row in moves] == [
        move for node_id in ids for move in ((node_id, None, "registered"), (node_id, "registered", "online"))
    ]
    assert [tuple(row) for row in told] == [
        event for node_id in ids for event in ((node_id, "node_registered"), (node_id, "node_online"))
    ]
    assert alive == 5


async def test_known_foreign_and_doubled_wallets_are_answered_each_for_itself(db: Database) -> None:
    mine, theirs = OWNER, STRANGER
    known, _, _ = await nodes.register(db, mine, described("known"))
    await nodes.register(db, theirs, described("foreign"))
    answers = await register_many(
        db,
        [
            (mine, described("known", "a100")),
            (mine, described("new")),
            (mine, described("foreign")),
            (mine, described("new", "h100")),
        ],
    )
    again, new, foreign, twice = answers
    assert again == (known, NodeState.ONLINE, False)
    assert isinstance(foreign, Conflict)
    assert not isinstance(new, Exception)
    assert new[2] is True
    assert twice == (new[0], NodeState.ONLINE, False)
    assert (await nodes.any_node(db, new[0])).node.gpu_model == "h100"


async def test_batches_with_the_same_wallets_make_each_node_once(db: Database) -> None:
    wallets = [f"w{number}" for number in range(20)]
    batches = await asyncio.gather(
        register_many(db, [(OWNER, described(wallet)) for wallet in wallets]),
        register_many(db, [(OWNER, described(wallet)) for wallet in reversed(wallets)]),
    )
    made = [answer for batch in batches for answer in batch if not isinstance(answer, Exception)]
    assert len(made) == 40
    assert sum(created for _, _, created in made) == 20
    assert len({node_id for node_id, _, _ in made}) == 20
