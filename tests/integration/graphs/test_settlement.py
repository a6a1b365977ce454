"""Payments on chain move the settlement of completed jobs, and nothing else of them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from app.core.chain import PaymentState
from app.core.events import SignalKind
from app.core.states import JobState
from app.services import jobs, nodes, offers
from app.services.waves import save_wave
from app.store.chain import job_links
from app.store.db import Database
from graphs.runtime import WaveRunner
from tests import factories
from tests.factories import OWNER, sql
from tests.integration.graphs import invariants
from tests.integration.graphs.test_races import keep_running
from tests.support import chain_rows

NONE, OBSERVED, VALID, INVALID = PaymentState


async def completed(db: Database, waves: WaveRunner, **columns: Any) -> str:
    """A completed job with an account on chain; its id."""
    if not await sql(db, "SELECT 1 FROM nodes"):
        await factories.node(db, wallet="our-wallet")
    (offer,) = await factories.accepted(db, waves)
    await chain_rows.link(db, offer.job_id, **columns)
    await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True)])
    await factories.run_waves(waves)
    return offer.job_id


async def moves(db: Database, job_id: str) -> list[tuple[Any, ...]]:
    rows = await sql(
        db, "SELECT to_state, reason, actor FROM settlement_history WHERE job_id = $1 ORDER BY seq", job_id
    )
    assert {actor for _, _, actor in rows} <= {"chain"}
    return [(target, reason) for target, reason, _ in rows]


async def settlement(db: Database, job_id: str) -> str:
    ((state,),) = await sql(db, "SELECT settlement FROM jobs WHERE id = $1", job_id)
    return str(state)


SEEN, FINAL, GONE = ("observed", "payment_seen"), ("settled", "payment_final"), ("awaiting", "payment_gone")
FAKE, FOREIGN = ("disputed", "fake_mint"), ("disputed", "completed_operator")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([OBSERVED, VALID], [SEEN, FINAL]),
        ([VALID, VALID], [SEEN, FINAL]),
        ([OBSERVED, NONE, OBSERVED, NONE], [SEEN, GONE, SEEN, GONE]),
        ([OBSERVED, NONE, VALID, NONE], [SEEN, GONE, SEEN, FINAL]),
        ([INVALID, OBSERVED, NONE, INVALID], [SEEN, FAKE]),
        ([OBSERVED, INVALID, VALID, INVALID], [SEEN, FAKE, FINAL]),
        ([VALID, INVALID], [SEEN, FINAL]),
    ],
)
async def test_a_settlement_follows_what_the_chain_says(
    db: Database, said: list[PaymentState], expected: list[tuple[str, str]]
) -> None:
    waves = factories.runner(db)
    job_id = await completed(db, waves)
    before = await unsettled(db, job_id)
    for payment in said:
        await chain_rows.say(db, job_id, payment, payment_reason="fake_mint" if payment is INVALID else None)
        await factories.run_waves(waves)
        await factories.wake(db, [job_id], SignalKind.CHAIN_PAYMENT)
        await factories.run_waves(waves)
        await invariants.check(db, waves.views)
    assert await moves(db, job_id) == expected
    assert await settlement(db, job_id) == expected[-1][0]
    # Nothing else of a finished job changes.
    after = await unsettled(db, job_id)
    assert after.pop("version") == before.pop("version") + len(expected)
    assert after == before


async def unsettled(db: Database, job_id: str) -> dict[str, Any]:
    ((row,),) = await sql(db, "SELECT to_jsonb(j) - 'settlement' FROM jobs j WHERE id = $1", job_id)
    return dict(row)


async def test_what_was_paid_before_the_end_settles_in_the_wave_that_ends_the_job(db: Database) -> None:
    waves = factories.runner(db)
    await factories.node(db, wallet="our-wallet")
    (offer,) = await factories.accepted(db, waves)
    address = await chain_rows.link(db, offer.job_id, price=2**64 - 1, completed_operator="our-wallet")
    await chain_rows.pay(db, address, "old", 5)
    await chain_rows.pay(db, address, "new", 7)
    await chain_rows.pay(db, address, "lost", 9, "orphaned")
    await chain_rows.say(db, offer.job_id, VALID)
    await factories.run_waves(waves)
    assert await settlement(db, offer.job_id) == "none"
    await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True)])
    await waves.run_once()
    assert await moves(db, offer.job_id) == [SEEN, FINAL]
    told = await sql(db, "SELECT kind, data FROM events WHERE job_id = $1 ORDER BY seq DESC LIMIT 3", offer.job_id)
    assert [kind for kind, _ in told] == ["payment_distributed", "payment_observed", "job_completed"]
    assert told[0][1] == {
        "job_id": offer.job_id, "node_id": offer.node_id, "type": "llm_inference", "state": "completed",
        "settlement": "settled", "reason": "payment_final", "chain_job": address, "amount": 2**64 - 1,
        "tx_signature": "new",
    }  # fmt: skip
    await invariants.check(db, waves.views)


async def test_a_valid_payment_to_the_wrong_operator_is_disputed_once_it_is_final(db: Database) -> None:
    waves = factories.runner(db)
    job_id = await completed(db, waves, assigned_operator="our-wallet", completed_operator="somebody")
    await chain_rows.say(db, job_id, OBSERVED)
    await factories.run_waves(waves)
    assert await moves(db, job_id) == [SEEN]
    await chain_rows.say(db, job_id, VALID)
    await factories.run_waves(waves)
    assert await moves(db, job_id) == [SEEN, FOREIGN]
    # The completion was forked out, and another one landed.
    await chain_rows.say(db, job_id, VALID, completed_operator="our-wallet")
    await factories.run_waves(waves)
    assert await moves(db, job_id) == [SEEN, FOREIGN, FINAL]


async def test_the_operator_is_compared_with_the_node_that_did_the_job(db: Database) -> None:
    waves = factories.runner(db)
    # What the chain's side noted when another node had the job.
    job_id = await completed(db, waves, completed_operator="our-wallet", mismatch="completed_operator")
    linked = await completed(db, waves, assigned_operator="owner-of-it")
    ((node_id,),) = await sql(db, "SELECT node_id FROM jobs WHERE id = $1", linked)
    await sql(
        db,
        """INSERT INTO chain_nodes (address, owner, chain_node_id, node_id)
        VALUES ('NodeAddress', 'owner-of-it', 'n', $1)""",
        node_id,
    )
    for one in (job_id, linked):
        await chain_rows.say(db, one, VALID)
    await factories.run_waves(waves)
    assert [await settlement(db, one) for one in (job_id, linked)] == ["settled", "settled"]


async def test_the_payment_of_a_job_that_was_not_completed_moves_nothing(db: Database) -> None:
    waves = factories.runner(db)
    (job_id,) = await factories.submit(db)
    await chain_rows.link(db, job_id)
    await jobs.cancel(db, OWNER, job_id)
    await factories.run_waves(waves)
    await chain_rows.say(db, job_id, VALID)
    await factories.run_waves(waves)
    assert (await settlement(db, job_id), await moves(db, job_id)) == ("none", [])
    await invariants.check(db, waves.views)


@pytest.mark.parametrize("status", ["pending", "running"])
async def test_a_cancel_on_chain_ends_the_job_in_the_chains_name(db: Database, status: str) -> None:
    waves = factories.runner(db)
    if status == "running":
        await factories.node(db)
        (job_id,) = [offer.job_id for offer in await factories.accepted(db, waves)]
    else:
        (job_id,) = await factories.submit(db)
    await jobs.cancel(db, OWNER, job_id)
    await factories.wake(db, [job_id], SignalKind.CHAIN_CANCELLED)
    await factories.run_waves(waves)
    last = await sql(
        db, "SELECT to_state, reason, actor FROM job_history WHERE job_id = $1 ORDER BY seq DESC LIMIT 1", job_id
    )
    assert last == [(JobState.CANCELLED, "chain", "chain")]
    await invariants.check(db, waves.views)


async def test_a_payment_that_lands_while_the_job_is_ended_is_not_missed(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = factories.runner(db)
    await factories.node(db, wallet="our-wallet")
    (offer,) = await factories.accepted(db, waves)
    await chain_rows.link(db, offer.job_id)
    await factories.run_waves(waves)
    await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True)])

    async def paid_meanwhile(uow: Any, wave: Any) -> None:
        await chain_rows.say(db, offer.job_id, VALID)
        await save_wave(uow, wave)

    with monkeypatch.context() as patched:
        patched.setattr("graphs.job.save_wave", paid_meanwhile)
        await waves.run_once()
    assert await settlement(db, offer.job_id) == "awaiting"
    await factories.run_waves(waves)
    assert await moves(db, offer.job_id) == [SEEN, FINAL]


async def test_waves_without_jobs_on_chain_ask_nothing_of_it(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked(*_: Any) -> Any:
        raise AssertionError("the chain's tables were read")

    monkeypatch.setattr(job_links, "views", asked)
    waves = factories.runner(db)
    await factories.node(db)
    given = await factories.accepted(db, waves, 2)
    # On chain, and neither ends nor hears from there.
    await sql(db, "UPDATE jobs SET chain_job = 'address' WHERE id = $1", given[1].job_id)
    await offers.report(db, [offers.new_report(given[0].id, given[0].node_id, ok=True)])
    await offers.progress(db, given[1].node_id, given[1].id, 1.0, "")
    await factories.run_waves(waves)
    await nodes.sweep_silent(db, 0.0)
    await factories.run_waves(waves)


async def test_payments_in_any_order_beside_two_runners_and_the_jobs_own_ends(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(3)]
    db, dice = databases[2], random.Random(11)
    try:
        await factories.node(db, wallet="our-wallet", capacity=64, gpus=64)
        runners = [factories.runner(each, wave_size=size) for each, size in zip(databases, (8, 64), strict=False)]
        given = await factories.accepted(db, runners[0], 40)
        ids = [offer.job_id for offer in given]
        for job_id in ids:
            await chain_rows.link(db, job_id)

        async def speak() -> None:
            for _ in range(150):
                payment, who = dice.choice(list(PaymentState)), dice.choice(["our-wallet", "our-wallet", "somebody"])
                await chain_rows.say(db, dice.choice(ids), payment, payment_reason="fake_mint", completed_operator=who)

        async def end() -> None:
            for offer in given:
                if dice.random() < 0.9:
                    await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True)])
                else:
                    await jobs.cancel(db, OWNER, offer.job_id)

        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for waves in runners:
                group.create_task(keep_running(waves, over))
            await asyncio.gather(speak(), end())
            over.set()
        for waves in runners:
            await factories.run_waves(waves)
        await invariants.check(db, *(waves.views for waves in runners))
        before = dict(await sql(db, "SELECT id, settlement FROM jobs WHERE state = 'completed'"))
        assert len(set(before.values())) > 1, before
        # In the end everybody is paid, half of them in a worthless token.
        for number, job_id in enumerate(ids):
            last = VALID if number % 2 else INVALID
            await chain_rows.say(db, job_id, last, payment_reason="fake_mint", completed_operator="our-wallet")
        await factories.run_waves(runners[0])
        await invariants.check(db)
        for number, job_id in enumerate(ids):
            if job_id in before:
                paid = number % 2 or before[job_id] == "settled"
                assert await settlement(db, job_id) == ("settled" if paid else "disputed")
        assert await sql(db, "SELECT * FROM signals WHERE kind LIKE 'chain%'") == []
    finally:
        for each in databases:
            await each.close()
