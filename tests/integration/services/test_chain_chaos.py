"""However events come (late, again, forked out, landed elsewhere): what follows is what the chain ended as."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from app.chain.model import IndexedEvent
from app.core.folding import JOB_EVENTS, NODE_EVENTS, Fact, latest
from app.store.chain import events
from app.store.db import Database
from tests.factories import sql
from tests.integration.services.chain_cases import CONFIRMED, FINALIZED, ChainJobCase, ChainNodeCase, World, landed_in

_WATCHED = {
    ("chain_jobs", "address"): """status, finalized, client, type, price, chain_node_id, assigned_operator,
        completed_operator, result_hash, payment, payment_reason, mismatch, job_id, linked_by, spec_due_at IS NULL,
        slot, requirements_hash, over""",
    ("chain_nodes", "address"): "replace(owner, $1, ''), status, registered, slot, stake",
    ("chain_payments", "signature"): "replace(address, $1, ''), verdict, commitment, slot, operator_amount",
    ("chain_events", "signature"): "replace(address, $1, ''), commitment, slot, name",
}


def stories(prefix: str, seed: int) -> tuple[list[IndexedEvent], dict[str, Any]]:
    """The lives of some jobs and nodes, each event in a transaction named by ``prefix``, in the chain's order."""
    dice = random.Random(seed)
    told: list[IndexedEvent] = []
    accounts: dict[str, Any] = {}
    for number in range(3):
        job = ChainJobCase(name=f"j{number}", address=f"{prefix}J{number}", price=dice.randint(1, 2**64 - 1))
        steps = [job.created, job.assigned, dice.choice((job.completed, job.cancelled)), job.paid]
        told += [step(slot) for slot, step in zip(sorted(dice.sample(range(1, 9), 4)), steps, strict=True)]
        accounts |= job.account("a1" * 32)
        node = ChainNodeCase(owner=f"{prefix}O{number}", name=f"n{number}", address=f"{prefix}N{number}")
        told += [node.registered(1), node.status("Offline", 3), node.deregistered(dice.choice((4, 5)))]
        told += [node.registered(5), node.status("Suspended", dice.choice((6, 7)))]
        accounts |= node.account()
    named = [
        replace(one, event=replace(one.event, key=one.event.key._replace(signature=f"{prefix}s{n}")))
        for n, one in enumerate(told)
    ]
    return named, accounts


async def apply_in_order(world: World, told: list[IndexedEvent], gone: set[int], accounts: dict[str, Any]) -> None:
    await world.record(*told, accounts=accounts)
    await world.orphan(*(one for n, one in enumerate(told) if n in gone))
    await world.promote(*(one for n, one in enumerate(told) if n not in gone))


async def apply_in_disorder(
    world: World, told: list[IndexedEvent], gone: set[int], accounts: dict[str, Any], dice: random.Random
) -> None:
    """The same ends, by detours: other slots first, taken back, again, in pieces, some final at first sight."""
    for n in dice.sample(range(len(told)), len(told)):
        one = told[n]
        state = {one.address: accounts[one.address]} if one.address and dice.random() < 0.3 else None
        for _ in range(dice.randint(0, 2)):
            detour = landed_in(one, one.slot + dice.randint(0, 4))
            await world.record(detour, accounts=state)
            if dice.random() < 0.5:
                await world.orphan(detour)
        final = n not in gone and dice.random() < 0.3
        await world.record(replace(one, commitment=FINALIZED if final else CONFIRMED), accounts=state)
        if n in gone:
            await world.orphan(one)
        elif dice.random() < 0.5:
            await world.promote(one)
    kept = [one for n, one in enumerate(told) if n not in gone]
    await world.promote(*kept)
    await world.record(*dice.sample(kept, len(kept)), accounts=accounts)


async def watched(db: Database, prefix: str) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: await sql(
            db,
            f"SELECT replace({key}, $1, ''), {columns} FROM {table} WHERE starts_with({key}, $1) ORDER BY 1",
            prefix,
        )
        for (table, key), columns in _WATCHED.items()
    }


async def node_states(db: Database, prefix: str) -> list[tuple[Any, ...]]:
    """What the engine's nodes are in, as far as it does not depend on the way there."""
    return await sql(
        db,
        """SELECT replace(c.address, $1, ''), CASE WHEN n.id IS NULL OR n.state = 'deregistered' THEN 'gone'
            WHEN n.state = 'suspended' THEN n.state ELSE 'open' END
        FROM chain_nodes c LEFT JOIN nodes n ON n.id = c.node_id WHERE starts_with(c.address, $1) ORDER BY 1""",
        prefix,
    )


async def test_disorder_ends_as_order_does(db: Database) -> None:
    world = World(db)
    for seed in range(6):
        dice = random.Random(seed)
        straight, crooked = f"straight{seed}", f"crooked{seed}"
        told, accounts = stories(straight, seed)
        gone = {n for n in range(len(told)) if dice.random() < 0.25}
        await apply_in_order(world, told, gone, accounts)
        again, states = stories(crooked, seed)
        await apply_in_disorder(world, again, gone, states, dice)
        assert await watched(db, crooked) == await watched(db, straight), f"seed {seed}"
        assert await node_states(db, crooked) == await node_states(db, straight), f"seed {seed}"
        assert not await sql(db, "SELECT 1 FROM jobs")
    await facts_are_the_latest(db)


async def facts_are_the_latest(db: Database) -> None:
    """What SQL hands to the folds is what they would have made of everything."""
    rows = await sql(
        db,
        """SELECT address, name, data, slot, commitment, signature, program, outer_ix, inner_ix, ordinal
        FROM chain_events WHERE address IS NOT NULL""",
    )
    everything: dict[str, list[Fact]] = {}
    for address, name, data, slot, commitment, *key in rows:
        fact = Fact(name, data, slot, type(CONFIRMED)(commitment), tuple(key))
        everything.setdefault(address, []).append(fact)
    async with db.unit() as uow:
        found = await events.facts(uow, list(everything), (*JOB_EVENTS, *NODE_EVENTS))
    assert {address: latest(facts) for address, facts in found.items()} == {
        address: latest(facts) for address, facts in everything.items()
    }
