"""app.chain.recover and app.chain.rebuild"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from app.chain.model import ChainEvent, EventKey, Reading, TokenBalance, Transaction
from app.chain.recover import MAX_WANTED, accounts_wanted, recover
from tests.support.invocations import (
    FOREIGN,
    IDLS,
    PROGRAMS,
    RECEIPT,
    REGISTRY,
    SIGNATURE,
    SPLITTER,
    Call,
    Data,
    account,
    call,
    created,
    event,
    instruction,
    key,
    transaction,
)

TIME = 1_700_000_000
JOB, CLIENT, NODE, OWNER, OPERATOR = key(1), key(2), key(3), key(4), key(5)
PAYER, PAID, TREASURY, POOL, ORCHESTRATOR = key(10), key(11), key(12), key(13), key(14)
MINT = key(20)
STATE = {
    "job_id": "job-1",
    "client": CLIENT,
    "assigned_node": OPERATOR,
    "job_type": 3,
    "price": 2**64 - 1,
    "requirements_hash": "ab" * 32,
    "created_at": TIME - 50,
    "completed_at": TIME - 5,
    "status": 0,
    "result_hash": "r" * 64,
    "logs_url": "https://logs",
    "payment_settled": False,
    "bump": 254,
}
NODE_STATE = {
    "owner": OWNER,
    "node_id": "node-1",
    "gpu_specs_hash": "g",
    "location": "EU",
    "registered_at": TIME - 99,
    "last_heartbeat": TIME,
    "status": {"Online": {}},
    "stake_amount": 0,
    "reputation_score": 100,
    "jobs_completed": 0,
    "total_earned": 0,
    "bump": 255,
}


def job(**change: Any) -> bytes:
    return account(RECEIPT, "JobAccount", **(STATE | change)) + bytes(64)


def node(**change: Any) -> bytes:
    return account(REGISTRY, "NodeAccount", **(NODE_STATE | change))


ACCOUNTS: dict[str, bytes | None] = {JOB: job(), NODE: node()}


def without_logs(tx: Transaction, logs: tuple[str, ...] | None = ("Log truncated",)) -> Transaction:
    return replace(tx, logs=logs)


def recovered(tx: Transaction, accounts: Mapping[str, bytes | None] = ACCOUNTS) -> Reading:
    reading = PROGRAMS.decoder.read(tx)
    found = recover(tx, reading, accounts, PROGRAMS)
    # It leaves what it was given alone, and everything that was unread is dealt with.
    assert PROGRAMS.decoder.read(tx) == reading
    assert found.unread == [] and found.truncated == reading.truncated
    assert all(one.recovered for one in found.events if one not in reading.events)
    return found


def lost(reading: Reading) -> list[tuple[str, str]]:
    return [(one.reason, one.detail) for one in reading.quarantined]


def ours(program: str, name: str, *accounts: str, **arguments: Any) -> Call:
    return Call(program, data=instruction(program, name, **arguments), accounts=accounts)


def balances(*change: tuple[str, int, int]) -> dict[str, Any]:
    return {
        "pre": [TokenBalance(one, MINT, "", before) for one, before, _ in change if before >= 0],
        "post": [TokenBalance(one, MINT, "", after) for one, _, after in change],
    }


PAYMENT = balances((PAYER, 1000, 50), (PAID, 5, 805), (TREASURY, -1, 100), (POOL, 0, 50))
SETTLE = ours(RECEIPT, "settle_job", JOB, PAYER, PAID, TREASURY, POOL, CLIENT)

ONE_EACH: list[tuple[Call, dict[str, Any], str, dict[str, Any]]] = [
    (
        ours(RECEIPT, "create_job", JOB, CLIENT, job_id="new", job_type=2, price=7, requirements_hash="h"),
        {},
        "JobCreatedEvent",
        {"job_id": "new", "client": CLIENT, "job_type": 2, "price": 7, "timestamp": TIME},
    ),
    (
        ours(RECEIPT, "assign_job", JOB, CLIENT, OPERATOR, node_id="node-9"),
        {},
        "JobAssignedEvent",
        {"job_id": "job-1", "node_id": "node-9", "node_operator": OPERATOR, "timestamp": TIME},
    ),
    (
        ours(RECEIPT, "submit_result", JOB, OPERATOR, OPERATOR, result_hash="rh", logs_url="lu"),
        {},
        "JobCompletedEvent",
        {"job_id": "job-1", "operator": OPERATOR, "result_hash": "rh", "logs_url": "lu", "timestamp": TIME},
    ),
    (
        SETTLE,
        PAYMENT,
        "PaymentDistributedEvent",
        {
            "job_id": "job-1",
            "operator_amount": 800,
            "treasury_amount": 100,
            "incentive_amount": 50,
            "timestamp": TIME,
        },
    ),
    (
        ours(RECEIPT, "cancel_job", JOB, CLIENT),
        {},
        "JobCancelledEvent",
        {"job_id": "job-1", "client": CLIENT, "timestamp": TIME},
    ),
    (
        ours(REGISTRY, "register_node", NODE, OWNER, node_id="new", gpu_specs_hash="g", location="EU"),
        {},
        "NodeRegistered",
        {"node_id": "new", "owner": OWNER, "timestamp": TIME},
    ),
    (
        ours(REGISTRY, "update_node_status", NODE, OWNER, status={"Suspended": {}}),
        {},
        "NodeStatusUpdated",
        {"node_id": "node-1", "status": {"Suspended": {}}, "timestamp": TIME},
    ),
    (
        ours(REGISTRY, "deregister_node", NODE, OWNER),
        {},
        "NodeDeregistered",
        {"node_id": "node-1", "owner": OWNER, "timestamp": TIME},
    ),
    (
        ours(
            SPLITTER,
            "initialize",
            key(30),
            OWNER,
            operator_share=80,
            treasury_share=10,
            incentive_share=5,
            orchestrator_share=5,
        ),
        {},
        "SplitterInitializedEvent",
        {
            "authority": OWNER,
            "operator_share": 80,
            "treasury_share": 10,
            "incentive_share": 5,
            "orchestrator_share": 5,
            "timestamp": TIME,
        },
    ),
    (
        ours(
            SPLITTER,
            "update_config",
            key(30),
            OWNER,
            operator_share=79,
            treasury_share=10,
            incentive_share=6,
            orchestrator_share=5,
        ),
        {},
        "ConfigUpdatedEvent",
        {
            "operator_share": 79,
            "treasury_share": 10,
            "incentive_share": 6,
            "orchestrator_share": 5,
            "timestamp": TIME,
        },
    ),
    (
        ours(SPLITTER, "process_payment", key(30), PAYER, PAID, TREASURY, POOL, ORCHESTRATOR, CLIENT, amount=1000),
        balances((PAYER, 1000, 0), (PAID, 5, 805), (TREASURY, 0, 100), (POOL, 0, 50), (ORCHESTRATOR, 1, 51)),
        "PaymentProcessedEvent",
        {
            "total_amount": 1000,
            "operator_amount": 800,
            "treasury_amount": 100,
            "incentive_amount": 50,
            "orchestrator_amount": 50,
            "timestamp": TIME,
        },
    ),
    (
        ours(SPLITTER, "withdraw_treasury", key(30), TREASURY, PAID, OWNER, amount=9),
        {},
        "TreasuryWithdrawalEvent",
        {"amount": 9, "destination": PAID, "timestamp": TIME},
    ),
]


@pytest.mark.parametrize(("one", "tokens", "name", "data"), ONE_EACH, ids=[name for _, _, name, _ in ONE_EACH])
def test_every_instruction_tells_its_event(one: Call, tokens: Any, name: str, data: dict[str, Any]) -> None:
    # What it truly emits, at top level and below another program.
    true = replace(one, steps=(Data(event(one.program, name, **data)),))
    for calls, place in (((true,), (0, -1)), ((call(FOREIGN), call(FOREIGN, true)), (1, 0))):
        whole = transaction(*calls, **tokens)
        for logs in (("Log truncated",), None):
            found = recovered(without_logs(whole, logs))
            (read,) = PROGRAMS.decoder.read(whole).events
            assert found.events == [replace(read, recovered=True)]
            assert found.events[0].key == EventKey(SIGNATURE, one.program, *place, 0)
            assert found.quarantined == []


def test_every_event_can_be_rebuilt() -> None:
    assert {name for _, _, name, _ in ONE_EACH} == {one.name for idl in IDLS.values() for one in idl.events}


def test_instructions_that_emit_nothing_miss_nothing() -> None:
    tx = transaction(
        ours(REGISTRY, "heartbeat", NODE, OWNER),
        ours(REGISTRY, "stake_for_node", NODE, OWNER, amount=5),
        ours(REGISTRY, "increment_jobs_completed", NODE),
        ours(REGISTRY, "add_earnings", NODE, amount=5),
    )
    found = recovered(without_logs(tx))
    assert (found.events, found.quarantined) == ([], [])


def test_what_was_read_stays_and_is_not_rebuilt() -> None:
    create = ours(RECEIPT, "create_job", JOB, CLIENT, job_id="a", job_type=2, price=7, requirements_hash="h")
    cancel = ours(RECEIPT, "cancel_job", JOB, CLIENT)
    tx = transaction(
        replace(create, steps=(Data(created("a")),)), replace(cancel, steps=(Data(b"@" * 9), call(FOREIGN)))
    )
    assert tx.logs is not None
    # Cut inside the first, behind its event; and inside the second, behind something that cannot be read.
    inside = tx.logs.index(next(line for line in tx.logs if line.startswith("Program data"))) + 1
    first = recovered(without_logs(tx, (*tx.logs[:inside], "Log truncated")), {})
    assert [(one.name, one.key[2:], one.recovered) for one in first.events] == [
        ("JobCreatedEvent", (0, -1, 0), False),
        ("JobCancelledEvent", (1, -1, 0), True),
    ]
    # Its account is gone, and the transaction itself says which job it was.
    assert first.events[1].data["job_id"] == "a"
    second = recovered(without_logs(tx, (*tx.logs[:-3], "Log truncated")))
    assert [(one.name, one.key[2:]) for one in second.events] == [
        ("JobCreatedEvent", (0, -1, 0)),
        ("JobCancelledEvent", (1, -1, 1)),
    ]
    assert [(one.reason, one.key[2:]) for one in second.quarantined] == [("unknown_discriminator", (1, -1, 0))]


def test_what_is_missing_is_quarantined() -> None:
    cancel = ours(RECEIPT, "cancel_job", JOB, CLIENT)
    for accounts in ({}, {JOB: None}, {JOB: b"garbage"}, {JOB: node()}):
        found = recovered(without_logs(transaction(cancel)), accounts)
        assert found.events == []
        (one,) = found.quarantined
        assert (one.key, one.reason) == (EventKey(SIGNATURE, RECEIPT, 0, -1, 0), "logs_truncated")
        assert (one.detail, one.raw) == (f"the state of {JOB} is not to be had", cancel.data)
    assert lost(recovered(without_logs(transaction(cancel), None), {}))[0][0] == "logs_missing"
    short = replace(cancel, accounts=(JOB,))
    assert lost(recovered(without_logs(transaction(short)))) == [
        ("logs_truncated", "cancel_job without its account 'client'")
    ]
    timeless = replace(without_logs(transaction(cancel)), block_time=None)
    assert lost(recovered(timeless)) == [("logs_truncated", "the block's time is unknown")]


@pytest.mark.parametrize(
    ("calls", "tokens", "why"),
    [
        ([SETTLE], {}, f"no token balance of {PAID}"),
        ([SETTLE], balances((PAID, 5, 4), (TREASURY, 0, 1), (POOL, 0, 1)), f"{PAID} lost tokens"),
        ([SETTLE, SETTLE], PAYMENT, f"{PAID} was paid more than once"),
        ([call(FOREIGN, SETTLE), SETTLE], PAYMENT, f"{PAID} was paid more than once"),
        (
            [ours(RECEIPT, "settle_job", JOB, PAYER, PAID, PAID, POOL, CLIENT)],
            PAYMENT,
            f"{PAID} was paid more than once",
        ),
    ],
)
def test_amounts_that_cannot_be_told(calls: list[Call], tokens: Any, why: str) -> None:
    found = recovered(without_logs(transaction(*calls, **tokens)))
    assert found.events == []
    assert set(lost(found)) == {("logs_truncated", why)}


def test_two_payments_to_others_are_told_apart() -> None:
    other = ours(RECEIPT, "settle_job", key(40), PAYER, key(41), key(42), key(43), CLIENT)
    tokens = balances(
        (PAYER, 1000, 0), (PAID, 0, 8), (TREASURY, 0, 1), (POOL, 0, 0),
        (key(41), 0, 80), (key(42), 0, 10), (key(43), 0, 5),
    )  # fmt: skip
    tx = without_logs(transaction(SETTLE, other, **tokens))
    found = recovered(tx, {JOB: job(), key(40): job(job_id="job-2")})
    assert [(one.data["job_id"], one.data["operator_amount"]) for one in found.events] == [("job-1", 8), ("job-2", 80)]


def test_what_must_not_be_stored_is_not_rebuilt_either() -> None:
    create = ours(RECEIPT, "create_job", JOB, CLIENT, job_id="a\0", job_type=2, price=7, requirements_hash="h")
    found = recovered(without_logs(transaction(create)))
    assert found.events == []
    assert lost(found) == [("nul_in_text", "JobCreatedEvent")]


def unknown(*accounts: str) -> Transaction:
    return without_logs(transaction(Call(RECEIPT, data=b"not an instruction", accounts=accounts)))


ASSIGNED_NODE = node(owner=OPERATOR, node_id="node-7")


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ({"status": 0}, ["JobCreatedEvent"]),
        ({"status": 1}, ["JobCreatedEvent", "JobAssignedEvent"]),
        ({"status": 2}, ["JobCreatedEvent", "JobAssignedEvent"]),
        ({"status": 3}, ["JobCreatedEvent", "JobAssignedEvent", "JobCompletedEvent"]),
        ({"status": 4}, ["JobCreatedEvent"]),
        ({"status": 5}, ["JobCreatedEvent", "JobCancelledEvent"]),
        ({"status": 77}, ["JobCreatedEvent"]),
        # Paid, but not in this transaction: no tokens moved.
        ({"status": 3, "payment_settled": True}, ["JobCreatedEvent", "JobAssignedEvent", "JobCompletedEvent"]),
    ],
)
def test_of_an_unknown_instruction_the_state_tells(state: dict[str, Any], names: list[str]) -> None:
    found = recovered(unknown(CLIENT, JOB), {JOB: job(**state), NODE: ASSIGNED_NODE})
    assert [one.name for one in found.events] == names
    assert [one.key[2:] for one in found.events] == [(0, -1, ordinal) for ordinal in range(len(names))]
    assert found.quarantined == []
    data = {one.name: one.data for one in found.events}
    assert data["JobCreatedEvent"] == {
        "job_id": "job-1",
        "client": CLIENT,
        "job_type": 3,
        "price": 2**64 - 1,
        "timestamp": TIME - 50,
    }
    assert data.get("JobAssignedEvent", {}).get("node_id", "node-7") == "node-7"
    assert data.get("JobCompletedEvent", {}).get("timestamp", TIME - 5) == TIME - 5


def test_a_node_s_state_tells_of_its_registration() -> None:
    tx = without_logs(transaction(Call(REGISTRY, data=b"not an instruction", accounts=(NODE,))))
    found = recovered(tx)
    assert [(one.name, one.data) for one in found.events] == [
        ("NodeRegistered", {"node_id": "node-1", "owner": OWNER, "timestamp": TIME - 99})
    ]
    # The state of another program's account is not its.
    assert lost(recovered(unknown(NODE)))[0][0] == "logs_truncated"


def test_the_payment_of_an_unknown_instruction() -> None:
    settled = {JOB: job(status=3, payment_settled=True)}
    tx = replace(unknown(JOB, PAYER, PAID, TREASURY, POOL), pre_balances=tuple(PAYMENT["pre"]))
    tx = replace(tx, post_balances=tuple(PAYMENT["post"]))
    paid = recovered(tx, settled).events[-1]
    assert paid.name == "PaymentDistributedEvent"
    assert [paid.data[f"{one}_amount"] for one in ("operator", "treasury", "incentive")] == [800, 100, 50]
    two = recovered(replace(tx, post_balances=tx.post_balances[:-1]), settled)
    assert [one.name for one in two.events] == ["JobCreatedEvent", "JobCompletedEvent"]
    assert lost(two) == [("logs_truncated", "tokens moved, and not to three accounts")]


def test_the_state_tells_no_news_twice() -> None:
    calls = [
        Call(RECEIPT, (Data(created("job-1")), Data(created("job-2"))), b"not an instruction", (JOB,)),
        Call(RECEIPT, (), b"nor this one", (JOB,)),
    ]
    tx = transaction(*calls)
    assert tx.logs is not None
    completed = {JOB: job(status=3)}
    found = recovered(without_logs(tx, (*tx.logs[:2], "Log truncated")), completed)
    assert [(one.name, one.key[2:], one.recovered) for one in found.events] == [
        ("JobCreatedEvent", (0, -1, 0), False),
        ("JobCompletedEvent", (0, -1, 1), True),
    ]
    assert [(one.reason, one.key[2:]) for one in found.quarantined] == [("logs_truncated", (1, -1, 0))]


def test_accounts_wanted() -> None:
    def wanted(*calls: Call) -> list[str]:
        return accounts_wanted(PROGRAMS.decoder.read(without_logs(transaction(*calls))))

    create = ours(RECEIPT, "create_job", JOB, CLIENT, job_id="a", job_type=2, price=7, requirements_hash="h")
    assert wanted(create, ours(REGISTRY, "heartbeat", NODE, OWNER)) == []
    cancel, settle = ours(RECEIPT, "cancel_job", JOB, CLIENT), replace(SETTLE, accounts=(key(9), *SETTLE.accounts[1:]))
    assert wanted(cancel, settle, cancel) == [JOB, key(9)]
    assert wanted(Call(RECEIPT, data=b"?", accounts=(CLIENT, JOB, CLIENT))) == [CLIENT, JOB]
    many = Call(RECEIPT, data=b"?", accounts=tuple(key(n) for n in range(200)))
    assert wanted(many) == [key(n) for n in range(MAX_WANTED)]
    assert accounts_wanted(Reading()) == []


def test_a_reading_that_lacks_nothing_stays_as_it_is() -> None:
    tx = transaction(call(RECEIPT, Data(created())))
    reading = PROGRAMS.decoder.read(tx)
    assert recover(tx, reading, {}, PROGRAMS) == reading
    assert isinstance(reading.events[0], ChainEvent)
