"""Payments on chain: kept to the base unit, judged by what really moved, and taken through to the settlement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.services import offers
from app.store.db import Database
from tests import factories
from tests.factories import sql
from tests.integration.services.chain_cases import (
    FINALIZED,
    MINT,
    ORCHESTRATOR,
    POOL,
    TREASURY,
    ChainJobCase,
    World,
    event,
    index,
    landed_in,
    transfers,
)

HASH = "a1" * 32
JOB = ChainJobCase()


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def completed(world: World, wallet: str = "Owner") -> tuple[str, str]:
    """A job of the engine that a node of this wallet has completed, linked to JOB: ``(job id, node id)``."""
    node_id = await factories.node(world.db, wallet=wallet)
    waves = factories.runner(world.db)
    (offer,) = await factories.accepted(world.db, waves, requirements_hash=HASH)
    await world.record(JOB.created(1), JOB.assigned(2), accounts=JOB.account(HASH))
    assert await offers.report(world.db, [offers.new_report(offer.id, node_id, ok=True)]) == [None]
    await factories.run_waves(waves)
    assert await world.one("SELECT settlement, chain_job FROM jobs") == ("awaiting", JOB.address)
    return offer.job_id, node_id


async def settled(world: World) -> str:
    """What the job graph makes of what it was signalled."""
    await factories.run_waves(factories.runner(world.db))
    ((settlement,),) = await sql(world.db, "SELECT settlement FROM jobs")
    return str(settlement)


async def verdict(world: World) -> tuple[Any, ...]:
    return await world.one("SELECT verdict, mint, commitment, transfers FROM chain_payments")


async def test_observed_then_settled(world: World) -> None:
    job_id, _ = await completed(world)
    done, paid = JOB.completed(3), JOB.paid(4)
    await world.record(done, paid)
    assert await world.signals() == [("chain_payment", job_id)]
    assert (await world.job())["payment"] == "observed"
    assert await verdict(world) == (
        "valid", MINT, "confirmed",
        [
            [f"Owner-{MINT}", "Owner", MINT, "800"], [f"{TREASURY}-{MINT}", TREASURY, MINT, "100"],
            [f"{POOL}-{MINT}", POOL, MINT, "50"], [f"Client-{MINT}", "Client", MINT, "-950"],
        ],
    )  # fmt: skip
    assert await settled(world) == "observed"
    assert await world.promote(done, paid) == 2
    assert (await world.job())["payment"] == "valid"
    assert await settled(world) == "settled"
    assert await sql(world.db, "SELECT operator_amount, treasury_amount, incentive_amount FROM chain_payments") == [
        (800, 100, 50)
    ]


async def test_a_payment_taken_back_and_landed_again(world: World) -> None:
    await completed(world)
    paid = JOB.paid(4)
    await world.record(paid)
    assert await settled(world) == "observed"
    await world.orphan(paid)
    row = await world.job()
    assert (row["payment"], row["job_id"] is not None) == ("none", True)
    assert await settled(world) == "awaiting"
    await world.record(landed_in(paid, 9))
    assert await settled(world) == "observed"
    assert await world.one("SELECT slot, commitment, count(*) OVER () FROM chain_payments") == (9, "confirmed", 1)
    await world.promote(landed_in(paid, 9))
    assert await settled(world) == "settled"


async def test_a_worthless_token_is_disputed_until_the_real_one_comes(world: World) -> None:
    await completed(world)
    fake = JOB.paid(4, mint="Worthless")
    await world.record(fake)
    assert (await verdict(world))[:2] == ("fake_mint", "Worthless")
    assert await settled(world) == "observed"
    await world.promote(fake)
    row = await world.job()
    assert (row["payment"], row["payment_reason"]) == ("invalid", "fake_mint")
    assert await settled(world) == "disputed"
    await world.record(JOB.paid(6, commitment=FINALIZED))
    assert await settled(world) == "settled"


async def test_the_operator_is_held_against_the_assignment(world: World) -> None:
    job_id, node_id = await completed(world)
    stranger = JOB.completed(3, operator="Thief")
    await world.record(stranger, JOB.paid(4, operator="Thief", commitment=FINALIZED))
    row = await world.job()
    assert (row["mismatch"], row["completed_operator"]) == ("completed_operator", "Thief")
    assert (row["payment"], row["payment_reason"]) == ("invalid", "wrong_operator")
    assert await sql(world.db, "SELECT name, flag FROM chain_events WHERE flag IS NOT NULL") == [
        ("JobCompletedEvent", "operator_mismatch")
    ]
    told = await sql(
        world.db, "SELECT job_id, node_id, data ->> 'operator' FROM events WHERE kind = 'operator_mismatch'"
    )
    assert told == [(job_id, node_id, "Thief")]
    assert await settled(world) == "disputed"
    await world.promote(stranger)
    await world.record(stranger)
    assert await sql(world.db, "SELECT count(*) FROM events WHERE kind = 'operator_mismatch'") == [(1,)]


async def test_an_assignment_to_somebody_else_is_flagged_when_we_assign(world: World) -> None:
    await world.record(JOB.created(1), JOB.assigned(2, operator="Thief"), accounts=JOB.account(HASH))
    node_id = await factories.node(world.db, wallet="Owner")
    await factories.accepted(world.db, factories.runner(world.db), requirements_hash=HASH)
    assert await world.due() == 1
    row = await world.job()
    assert (row["mismatch"], row["linked_by"]) == ("assigned_operator", "hash")
    assert await world.one("SELECT node_id FROM events WHERE kind = 'operator_mismatch'") == (node_id,)


async def test_the_owner_on_chain_counts_as_the_nodes_wallet(world: World) -> None:
    _, node_id = await completed(world, wallet="some-worker")
    await sql(
        world.db,
        """INSERT INTO chain_nodes (address, owner, chain_node_id, node_id, registered)
        VALUES ('N', 'Owner', 'rig', $1, true)""",
        node_id,
    )
    await world.record(JOB.completed(3), JOB.paid(4, commitment=FINALIZED))
    row = await world.job()
    assert (row["mismatch"], row["payment"]) == (None, "valid")


async def test_payments_known_before_the_link_are_signalled_with_it(world: World) -> None:
    await world.record(
        JOB.created(1), JOB.assigned(2), JOB.completed(3), JOB.paid(4, commitment=FINALIZED), accounts=JOB.account(HASH)
    )
    node_id = await factories.node(world.db, wallet="Owner")
    waves = factories.runner(world.db)
    (offer,) = await factories.accepted(world.db, waves, requirements_hash=HASH)
    await offers.report(world.db, [offers.new_report(offer.id, node_id, ok=True)])
    await factories.run_waves(waves)
    # Over on chain, it does not wait for a job; the next word of the chain finds the one that was done meanwhile.
    assert await world.due() == 0
    await world.record(JOB.cancelled(9))
    assert await world.signals() == [("chain_created", offer.job_id)]
    assert await settled(world) == "settled"


async def test_the_price_may_come_after_the_payment(world: World) -> None:
    created, paid = JOB.created(1), JOB.paid(4, commitment=FINALIZED)
    await world.record(JOB.completed(3), paid)
    assert (await verdict(world))[0] == "unverified"
    assert (await world.job())["payment"] == "observed"
    await world.record(created)
    assert (await verdict(world))[0] == "valid"
    assert (await world.job())["payment"] == "valid"


async def test_nothing_is_verified_without_the_mint(db: Database) -> None:
    world = World(db, index(hyper_mint=""))
    await world.record(JOB.created(1), JOB.completed(3), JOB.paid(4, commitment=FINALIZED))
    row = await world.job()
    assert (row["payment"], row["payment_reason"]) == ("observed", "unverified")


def processed(slot: int, total: int = 1_000, *, signature: str = "", **changes: Any) -> Any:
    data = {
        "total_amount": total,
        "operator_amount": total * 80 // 100,
        "treasury_amount": total * 10 // 100,
        "incentive_amount": total * 5 // 100,
        "orchestrator_amount": total * 5 // 100,
        **changes,
    }
    moved = transfers(
        ("Owner", data["operator_amount"]),
        (TREASURY, data["treasury_amount"]),
        (POOL, data["incentive_amount"]),
        (ORCHESTRATOR, data["orchestrator_amount"]),
    )
    return event("PaymentProcessedEvent", data, slot=slot, signature=signature, transfers=moved)


async def test_the_splitter_is_tied_to_the_job_of_its_transaction(world: World) -> None:
    both = processed(4, signature="both")
    paid = replace(JOB.paid(4, signature="both"), transfers=both.transfers)
    await world.record(JOB.created(1), JOB.completed(3), both, processed(5), processed(6, operator_amount=810))
    assert await sql(world.db, "SELECT kind, address, verdict, total FROM chain_payments ORDER BY slot") == [
        ("processed", None, "valid", 1_000),
        ("processed", None, "valid", 1_000),
        ("processed", None, "wrong_split", 1_000),
    ]
    await world.record(paid)
    assert await sql(world.db, "SELECT kind, address, verdict FROM chain_payments WHERE slot = 4 ORDER BY kind") == [
        ("distributed", JOB.address, "valid"),
        ("processed", JOB.address, "valid"),
    ]
    await world.orphan(paid)
    assert await sql(world.db, "SELECT DISTINCT commitment FROM chain_payments WHERE slot = 4") == [("orphaned",)]


async def test_several_payments_of_one_transaction_share_what_it_moved(world: World) -> None:
    cases = [ChainJobCase(name=f"j{n}", address=f"A{n}", price=1_000 * (n + 1)) for n in range(3)]
    moved = transfers(("Owner", 800 + 1_600), ("Other", 2_400), (TREASURY, 600), (POOL, 300))
    for n, case in enumerate(cases):
        operator = "Other" if n == 2 else "Owner"
        await world.record(
            case.created(1),
            case.completed(2, operator),
            case.paid(4, operator, signature="all", ordinal=n, transfers=moved, commitment=FINALIZED),
        )
    assert await sql(world.db, "SELECT payment, count(*) FROM chain_jobs GROUP BY 1") == [("valid", 3)]
    short = tuple(replace(one, amount=one.amount - 1) if one.owner == "Owner" else one for one in moved)
    for n, case in enumerate(cases):
        operator = "Other" if n == 2 else "Owner"
        await world.record(case.paid(5, operator, signature="short", ordinal=n, transfers=short, commitment=FINALIZED))
    assert await sql(world.db, "SELECT verdict, count(*) FROM chain_payments WHERE slot = 5 GROUP BY 1 ORDER BY 1") == [
        ("valid", 1), ("wrong_amounts", 2),
    ]  # fmt: skip


async def test_the_same_payload_twice_in_one_transaction(world: World) -> None:
    first = JOB.paid(4, signature="twice")
    again = JOB.paid(4, signature="twice", ordinal=1)
    assert await world.record(JOB.created(1), JOB.completed(3), first, again) == 4
    assert await sql(world.db, "SELECT ordinal, verdict FROM chain_payments ORDER BY ordinal") == [
        (0, "valid"), (1, "wrong_amounts"),
    ]  # fmt: skip
    await world.promote(first)
    assert (await world.job())["payment"] == "valid"


async def test_sums_are_those_of_the_final_chain(world: World) -> None:
    cases = [ChainJobCase(name=f"j{n}", address=f"A{n}", price=2**64 - 1 - n) for n in range(20)]
    paid = [case.paid(n) for n, case in enumerate(cases)]
    await world.record(*paid)
    await world.orphan(*paid[::3])
    kept = [one for n, one in enumerate(paid) if n % 3]
    await world.promote(*kept)
    want = sum(one.event.data["operator_amount"] for one in kept)
    assert await world.one("SELECT sum(operator_amount) FROM chain_payments WHERE commitment = 'finalized'") == (want,)
