"""Faults that change answers; those that break connections are in tests/integration."""

from __future__ import annotations

from typing import Any

import pytest

from app.chain.devchain.emitter import Op, record
from app.chain.devchain.errors import RpcError
from app.chain.devchain.node import Node
from tests.unit.chain.devchain.chains import BOB, SOL, ask, asking, emit, emitting, lamports, manual, paying, wire

CONFIRMED = {"commitment": "confirmed", "maxSupportedTransactionVersion": 0}
KEY = str(BOB.pubkey())


@pytest.fixture
def node() -> Node:
    """Twenty payments in two blocks, confirmed."""
    chain = manual()
    for number in range(20):
        chain.send(paying(chain, SOL + number))
        if number % 10 == 9:
            chain.advance()
    return asking(chain)


def page(node: Node, **options: Any) -> list[Any]:
    answer: list[Any] = ask(node, "getSignaturesForAddress", KEY, {"commitment": "confirmed", **options})
    return answer


def first(node: Node) -> str:
    signature: str = page(node)[0]["signature"]
    return signature


def transaction(node: Node, signature: str) -> Any:
    return ask(node, "getTransaction", signature, CONFIRMED)


@pytest.mark.parametrize(
    ("kind", "value", "code", "data"),
    [
        ("rpc_429", None, 429, False),
        ("rpc_32005", None, -32005, False),
        ("rpc_error", {"code": -32014, "message": "Block status not yet available for slot 5"}, -32014, False),
        ("rpc_error", {"code": -1, "message": "?", "data": {"x": 1}}, -1, True),
        ("rpc_error", None, -32603, False),
    ],
)
def test_errors_instead_of_results(node: Node, kind: str, value: Any, code: int, data: bool) -> None:
    node.faults.add(kind, count=1, methods=["getSlot"], value=value)
    assert ask(node, "getHealth") == "ok"
    with pytest.raises(RpcError) as caught:
        ask(node, "getSlot")
    assert (caught.value.code, "data" in caught.value.as_object()) == (code, data)
    assert ask(node, "getSlot")


def test_a_transaction_that_is_not_there_for_a_while(node: Node) -> None:
    one, other = (each["signature"] for each in page(node)[:2])
    node.faults.add("null_transaction", count=2, signatures=[one])
    assert transaction(node, other) is not None
    assert [transaction(node, one) is None for _ in range(3)] == [True, True, False]


def test_a_transaction_without_sense(node: Node) -> None:
    node.faults.add("bad_transaction", count=1)
    assert transaction(node, first(node)) == {"slot": "soon", "meta": 5}
    node.faults.add("bad_transaction", count=1, value=[1, 2])
    assert transaction(node, first(node)) == [1, 2]
    assert transaction(node, first(node))["meta"]["err"] is None


def test_pages_that_come_back_empty(node: Node) -> None:
    node.faults.add("empty_page", count=2, addresses=[KEY])
    assert [len(page(node)) for _ in range(3)] == [0, 0, 20]
    node.faults.add("empty_page", addresses=["somebody else"])
    assert len(page(node)) == 20


def test_one_bad_entry_in_a_page(node: Node) -> None:
    node.faults.add("bad_entry", count=1)
    entries = page(node)
    assert len(entries) == 20
    assert [number for number, entry in enumerate(entries) if not isinstance(entry["signature"], str)] == [10]
    assert all(isinstance(entry["signature"], str) for entry in page(node))


@pytest.mark.parametrize("value", [None, "each"])
def test_another_order_within_slots(node: Node, value: Any) -> None:
    before = page(node)
    node.faults.add("shuffle", value=value)
    mixed = page(node)
    assert mixed != before
    assert [entry["slot"] for entry in mixed] == [entry["slot"] for entry in before]
    assert sorted(entry["signature"] for entry in mixed) == sorted(entry["signature"] for entry in before)
    assert (page(node) == mixed) == (value is None)
    if value is None:
        paged = page(node, limit=7)
        while more := page(node, limit=7, before=paged[-1]["signature"]):
            paged += more
        assert paged == mixed
        assert page(node, until=mixed[4]["signature"]) == mixed[:4]
    assert page(node, before="1" * 64) == []


def test_errors_that_nobody_knows_are_those_of_failures(node: Node) -> None:
    node.chain.send(paying(node.chain, 10**13))
    node.chain.advance()
    node.faults.add("unknown_err")
    failed, fine = page(node)[:2]
    assert isinstance(failed["err"], dict) and "InstructionError" not in failed["err"]
    assert fine["err"] is None
    meta = transaction(node, failed["signature"])["meta"]
    assert (meta["err"], meta["status"]) == (failed["err"], {"Err": failed["err"]})
    [status] = ask(node, "getSignatureStatuses", [failed["signature"]])["value"]
    assert status["err"] == failed["err"]
    node.faults.add("unknown_err", signatures=[fine["signature"]], value="Strange")
    assert transaction(node, fine["signature"])["meta"]["err"] in ("Strange", None)


def test_logs_that_are_cut_or_missing(node: Node) -> None:
    node.faults.add("truncate_logs", signatures=[first(node)], value=1)
    logs = transaction(node, first(node))["meta"]["logMessages"]
    assert (len(logs), logs[1]) == (2, "Log truncated")
    node.faults.clear()
    node.faults.add("null_logs", count=1)
    one, other = (each["signature"] for each in page(node)[:2])
    assert [transaction(node, each)["meta"]["logMessages"] is None for each in (one, other, one)] == [True, False, True]


def test_transactions_of_a_version_to_come(node: Node) -> None:
    node.faults.add("version_1", signatures=[first(node)])
    slot = page(node)[0]["slot"]
    for call in (("getTransaction", first(node)), ("getBlock", slot)):
        with pytest.raises(RpcError, match=r"version \(1\)") as caught:
            ask(node, *call, CONFIRMED)
        assert caught.value.code == -32015
    newest = {**CONFIRMED, "maxSupportedTransactionVersion": 1}
    assert ask(node, "getTransaction", first(node), newest)["version"] == 1


def test_a_node_that_is_behind(node: Node) -> None:
    tip, height = node.chain.slot, ask(node, "getBlockHeight", {"commitment": "processed"})
    node.chain.advance(1)
    node.chain.send(paying(node.chain, 5 * SOL))
    node.chain.advance(2)
    node.faults.add("lag", value=3)
    assert ask(node, "getSlot", {"commitment": "processed"}) == tip
    assert ask(node, "getBlockHeight", {"commitment": "processed"}) == height
    with pytest.raises(RpcError) as caught:
        ask(node, "getHealth")
    assert (caught.value.code, caught.value.data) == (-32005, {"numSlotsBehind": 3})
    assert caught.value.message == "Node is behind by 3 slots"
    assert len(page(node)) == 20
    seen = ask(node, "getBalance", KEY, {"commitment": "processed"})["value"]
    assert seen == lamports(node.chain, BOB.pubkey()) - 5 * SOL
    with pytest.raises(RpcError) as caught:
        ask(node, "sendTransaction", wire(paying(node.chain, 7)), {"encoding": "base64"})
    assert caught.value.code == -32005
    with pytest.raises(RpcError) as caught:
        ask(node, "getBlock", tip, {"commitment": "confirmed"})
    assert caught.value.code == -32004
    node.faults.clear()
    assert len(page(node)) == 21


def test_transactions_that_are_lost_or_late(node: Node) -> None:
    node.faults.add("lose_transaction", count=1)
    lost, late = paying(node.chain, 7 * SOL), paying(node.chain, 8 * SOL)
    assert ask(node, "sendTransaction", wire(lost), {"encoding": "base64"}) == str(lost.signatures[0])
    assert node.chain.transaction(lost.signatures[0]) is None
    node.faults.add("delay_transaction", count=1, value=2)
    ask(node, "sendTransaction", wire(late), {"encoding": "base64"})
    node.chain.advance()
    assert node.chain.transaction(late.signatures[0]) is None
    node.chain.advance()
    assert node.chain.transaction(late.signatures[0]) is not None


def test_what_drives_the_chain_is_spared(node: Node) -> None:
    node.faults.add("rpc_429")
    assert ask(node, "devchain_advance")["slot"] == node.chain.slot


def test_faults_do_not_touch_the_ledger(node: Node) -> None:
    landed = emit(node.chain, b"event")
    node.chain.send(emitting(node.chain, record(b"text", Op.TEXT)))
    node.chain.advance()
    node.faults.add("truncate_logs", value=0)
    assert transaction(node, str(landed.signature))["meta"]["logMessages"] == ["Log truncated"]
    node.faults.clear()
    assert any("Program data" in line for line in transaction(node, str(landed.signature))["meta"]["logMessages"])
