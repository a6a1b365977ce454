"""Scans: whatever the chain holds is in the tables once, and what cannot be read is in quarantine."""

from __future__ import annotations

from typing import Any

import pytest

from app.chain.devchain.config import NODE_REGISTRY, PAYMENT_SPLITTER
from app.chain.devchain.emitter import Op, record
from app.chain.devchain.faults import Kind
from app.chain.devchain.network import Payment, Style
from app.chain.scanning import ScanLimits
from tests.integration.chain.world import PROGRAMS, World
from tests.integration.chain.world import world as new_world

PRICE = 10**9
U64 = 2**64 - 1


async def test_every_programs_events_are_there_once(world: World) -> None:
    network, payer = world.network, world.client()
    operator = network.wallet("operator")
    network.register_node(operator, "node-1")
    world.create("job-1")
    network.assign_job(payer.pubkey(), "job-1", node_id="node-1", operator=operator.pubkey())
    network.submit_result(payer.pubkey(), "job-1", operator=operator)
    # Of two programs, which are both listed with it.
    network.settle_job(payer, "job-1", operator=operator.pubkey(), processed=True)
    world.land()
    for _ in range(2):
        await world.scan_all()
    assert await world.exact(PROGRAMS.ids)
    assert len(await world.told()) == 6
    # In one slot, and folded in the order in which these things happen all the same.
    assert await world.rows("SELECT status, payment FROM chain_jobs") == [("completed", "observed")]
    assert [(await world.cursor(one))["stalled"] for one in PROGRAMS.ids] == [None] * 3
    scanner = await world.scanner()
    assert (scanner.progress.read, scanner.progress.events) == (4, 5)


async def test_a_backlog_of_several_pages(world: World) -> None:
    world.backlog(2300, per_block=300)
    assert await world.scan() == 2300
    assert await world.exact()
    assert await world.rows("SELECT count(*) FROM chain_pages WHERE done < jsonb_array_length(entries)") == [(0,)]
    assert (await world.cursor())["scan_slot"] is None
    world.create("job-1")
    world.land()
    # What was read is recognised, by this leader and by the next one.
    assert await world.scan() == 1
    await world.lead()
    assert await world.scan() <= 1
    assert await world.exact()


async def test_slots_that_a_page_cuts_and_slots_without_a_block(database_url: str) -> None:
    async with new_world(database_url, limits=ScanLimits(page=7, chunk=3)) as world:
        world.faults.add(Kind.SHUFFLE, value="each")
        for number in range(5):
            world.backlog(5, per_block=5, seed=number)
            world.chain.skip(number)
            await world.scan()
        await world.lead()
        world.backlog(40, per_block=4, seed=9)
        await world.scan()
        assert await world.exact()


async def test_one_slot_larger_than_a_page(database_url: str) -> None:
    async with new_world(database_url, limits=ScanLimits(page=7, chunk=3)) as world:
        world.backlog(30, per_block=30)
        await world.scan()
        assert await world.exact()


async def test_a_first_scan_goes_back_to_the_start_slot(database_url: str) -> None:
    async with new_world(database_url, limits=ScanLimits(page=4, start_slot=8, overlap_slots=0)) as world:
        world.backlog(30, per_block=3)
        await world.scan()
        assert await world.told() == [event for event in world.truth() if event[5] >= 8]


async def test_failed_transactions_leave_nothing_and_are_not_listed_again_and_again(world: World) -> None:
    network = world.network
    event = network.event("job_receipt", "JobCreatedEvent", {"job_id": "x", "client": world.client().pubkey(), **ZERO})
    failing = record(event) + record((7).to_bytes(4, "little"), Op.FAIL)
    world.create("job-1")
    world.land()
    await world.scan()
    for number in range(3):
        landed = network.emit("job_receipt", b"%d" % number, before=failing)
        assert landed.err is not None
        world.land()
    world.faults.add(Kind.UNKNOWN_ERR)
    assert await world.scan() == 0
    assert await world.names() == ["JobCreatedEvent"]
    assert await world.quarantine() == []
    # The cursor went along, though nothing was read.
    assert (await world.cursor())["signature"] == str(landed.signature)
    assert (await world.scanner()).knows(str(landed.signature))


ZERO: dict[str, Any] = {"job_type": 0, "price": 0}


async def test_a_bad_entry_costs_that_entry(world: World) -> None:
    world.backlog(1000, per_block=500)
    world.faults.add(Kind.BAD_ENTRY, count=1)
    await world.scan()
    assert len(await world.told()) == 999
    assert await world.quarantine() == ["malformed_entry"]
    # The node has come to its senses: what was behind the entry is found.
    await world.scan()
    assert await world.exact()
    assert await world.quarantine() == []


async def test_whatever_a_bad_entry_is(world: World) -> None:
    values = [{"signature": "x"}, 7, [], "text", {"err": None, "signature": 5, "slot": -1}]
    for number, value in enumerate(values):
        first, *_, last = world.create(*(f"job-{number}-{one}" for one in "abc"))
        world.land()
        world.faults.add(Kind.BAD_ENTRY, value=value, count=1)
        await world.scan()
        told = {event[0] for event in await world.told()}
        assert {first, last} <= told
        assert await world.quarantine() == ["malformed_entry"]
        await world.lead()
        await world.scan()
        assert await world.exact()
        assert await world.quarantine() == []


async def test_an_entry_without_its_slot_is_read_and_no_landmark(world: World) -> None:
    signatures = world.create("job-1")
    world.land()
    world.faults.add(Kind.BAD_ENTRY, value={"signature": signatures[0], "err": None, "slot": "soon"})
    await world.scan()
    assert await world.exact()
    assert await world.quarantine() == []


async def test_malformed_transactions_are_put_aside_and_the_rest_goes_on(world: World) -> None:
    broken: list[Any] = [{}, {"meta": None}, {"slot": "soon", "meta": 5}]
    broken += [{"slot": 5, "transaction": ["AAAA", "base64"], "meta": {"err": None}}, 17, "text", [1]]
    first, *bad, last = world.create(*(f"job-{number}" for number in range(len(broken) + 2)))
    world.land()
    for signature, value in zip(bad, broken, strict=True):
        world.faults.add(Kind.BAD_TRANSACTION, signatures={signature}, value=value)
    assert await world.scan() == len(broken) + 2
    assert {event[0] for event in await world.told()} == {first, last}
    assert await world.quarantine() == ["malformed_transaction"] * 4 + ["not_given"] * 3
    assert (await world.cursor())["stalled"] is None


async def test_a_transaction_that_was_garbled_once_is_no_loss(world: World) -> None:
    world.create("job-1", "job-2")
    world.land()
    world.faults.add(Kind.BAD_TRANSACTION, count=1)
    await world.scan()
    assert await world.exact()
    assert await world.quarantine() == []


async def test_a_version_that_the_node_gives_is_read_and_one_that_it_does_not_is_put_aside(world: World) -> None:
    one, two = world.create("job-1", "job-2")
    world.land()
    world.faults.add(Kind.VERSION_1, signatures={one})
    refusal = {"code": -32015, "message": "Transaction version (200) is not supported by the requesting client."}
    world.faults.add(Kind.RPC_ERROR, methods={"getTransaction"}, skip=1, count=1, value=refusal)
    await world.scan()
    assert {event[0] for event in await world.told()} == {one}
    assert await world.rows("SELECT signature, reason FROM chain_quarantine") == [(two, "version_unsupported")]


async def test_texts_that_no_table_holds_are_put_aside(world: World) -> None:
    world.create("fine", price=U64)
    world.create(b"nul\0here", b"not utf8 \xff", b"long" * 9, style=Style.RECORDS)
    world.network.register_node(world.client(), b"n" * 65, style=Style.RECORDS)
    world.land()
    await world.scan_all()
    assert await world.quarantine() == ["invalid_value", "nul_in_text", "over_long", "over_long"]
    assert await world.rows("SELECT chain_job_id, price FROM chain_jobs") == [("fine", U64)]
    assert await world.names() == ["JobCreatedEvent"]


async def test_the_same_payload_twice_in_one_transaction_is_two_events(world: World) -> None:
    network, payer = world.network, world.client()
    world.create("job-1")
    event = network.event("job_receipt", "JobCancelledEvent", {"job_id": "job-1", "client": payer.pubkey()})
    network.emit("job_receipt", event, before=record(event))
    world.land()
    await world.scan()
    assert await world.exact()
    assert [
        (outer, inner, ordinal) for _, _, outer, inner, ordinal, _, name in await world.told() if "Cancel" in name
    ] == [
        (0, -1, 0),
        (0, -1, 1),
    ]


@pytest.mark.parametrize("fault", [Kind.TRUNCATE_LOGS, Kind.NULL_LOGS])
async def test_what_cut_logs_hide_is_rebuilt_from_the_accounts(world: World, fault: Kind) -> None:
    network, payer = world.network, world.client()
    operator = network.wallet("operator")
    network.register_node(operator, "node-1")
    world.create("job-1")
    network.assign_job(payer.pubkey(), "job-1", node_id="node-1", operator=operator.pubkey())
    network.submit_result(payer.pubkey(), "job-1", operator=operator, result_hash="ab" * 32, logs_url="ipfs://x")
    network.settle_job(payer, "job-1", operator=operator.pubkey())
    world.land()
    truth = world.truth(PROGRAMS.ids)
    world.faults.add(fault)
    await world.scan_all()
    assert await world.told() == truth
    assert await world.rows("SELECT DISTINCT recovered FROM chain_events") == [(True,)]
    rows = await world.rows("SELECT status, payment, price, assigned_operator, result_hash FROM chain_jobs")
    assert rows == [("completed", "observed", PRICE, str(operator.pubkey()), "ab" * 32)]
    # With all its lines again, the same transactions are the same events.
    world.faults.clear()
    await world.lead()
    await world.scan_all()
    assert await world.told() == truth


async def test_what_cut_logs_hide_and_nothing_tells_is_put_aside(world: World) -> None:
    network = world.network
    event = network.event(
        "payment_splitter", "TreasuryWithdrawalEvent", {"amount": 5, "destination": world.client().pubkey()}
    )
    network.emit("payment_splitter", event)
    world.land()
    world.faults.add(Kind.TRUNCATE_LOGS)
    await world.scan(PAYMENT_SPLITTER)
    assert await world.names() == []
    assert await world.quarantine() == ["logs_truncated"]


@pytest.mark.parametrize(
    ("payment", "verdict"),
    [
        (Payment.REAL, "valid"),
        (Payment.FAKE_MINT, "fake_mint"),
        (Payment.SHORT, "wrong_amounts"),
        (Payment.NO_TRANSFER, "no_transfer"),
    ],
)
async def test_a_payment_is_what_its_tokens_are(world: World, payment: Payment, verdict: str) -> None:
    network, payer = world.network, world.client()
    operator = network.wallet("operator")
    world.create("job-1")
    network.assign_job(payer.pubkey(), "job-1", node_id="node-1", operator=operator.pubkey())
    network.submit_result(payer.pubkey(), "job-1", operator=operator)
    network.settle_job(payer, "job-1", operator=operator.pubkey(), payment=payment)
    world.land()
    await world.scan()
    assert await world.rows("SELECT verdict, commitment FROM chain_payments") == [(verdict, "confirmed")]
    world.finalize()
    await world.settle_finality()
    expected = ("valid", None) if verdict == "valid" else ("invalid", verdict)
    assert await world.rows("SELECT payment, payment_reason FROM chain_jobs") == [expected]


async def test_a_flood_of_mentions_is_read_once_and_says_nothing(world: World) -> None:
    world.create("job-1")
    world.mentions(600)
    world.land()
    await world.scan()
    assert await world.names() == ["JobCreatedEvent"]
    assert await world.quarantine() == []
    assert await world.scan() == 0


async def test_a_program_that_nobody_used(world: World) -> None:
    assert await world.scan(NODE_REGISTRY) == 0
    cursor = await world.cursor(NODE_REGISTRY)
    assert (cursor["signature"], cursor["stalled"], cursor["seen_slot"]) == (
        None,
        None,
        world.chain.slot_at("confirmed"),
    )
