from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import msgspec
import pytest
from solders.instruction import AccountMeta
from solders.message import MessageV0
from solders.rpc.responses import GetSignaturesForAddressResp, GetTransactionResp
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from app.chain.base58 import decode
from app.chain.devchain.emitter import Op, record
from app.chain.devchain.errors import RpcError
from app.chain.devchain.money import HYPER, Money
from app.chain.devchain.money import transfer as move
from app.chain.devchain.node import Node
from tests.unit.chain.devchain.chains import ALICE, BOB, RECEIPT, SOL, ask, asking, emitting, manual, paying

NEWEST = {"maxSupportedTransactionVersion": 0}


@pytest.fixture
def node() -> Node:
    return asking(manual())


def envelope(result: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result})


def versioned(node: Node) -> VersionedTransaction:
    step = transfer(TransferParams(from_pubkey=ALICE.pubkey(), to_pubkey=BOB.pubkey(), lamports=SOL))
    message = MessageV0.try_compile(ALICE.pubkey(), [step], [], node.chain.latest_blockhash()[0])
    return VersionedTransaction(message, [ALICE])


def test_a_transaction_is_there_from_its_commitment_on(node: Node) -> None:
    signature = str(node.chain.send(paying(node.chain)).signature)
    assert ask(node, "getTransaction", signature, {"commitment": "confirmed"}) is None
    node.chain.advance()
    assert ask(node, "getTransaction", signature, {"commitment": "confirmed"})["slot"] == node.chain.slot - 1
    assert ask(node, "getTransaction", signature) is None
    node.chain.advance(3)
    assert ask(node, "getTransaction", signature)["slot"] == node.chain.slot - 4
    with pytest.raises(RpcError, match="confirmed"):
        ask(node, "getTransaction", signature, {"commitment": "processed"})
    assert ask(node, "getTransaction", str(Signature.new_unique())) is None


def test_every_encoding_holds_the_same_transaction(node: Node) -> None:
    sent = versioned(node)
    signature = str(node.chain.send(sent).signature)
    node.chain.advance(4)
    shown = {
        encoding: ask(node, "getTransaction", signature, {"encoding": encoding, **NEWEST})
        for encoding in ("json", "jsonParsed", "base64", "base58")
    }
    for answer in shown.values():
        read = GetTransactionResp.from_json(envelope(answer))
        assert isinstance(read, GetTransactionResp) and read.value is not None
        assert read.value.transaction.meta is not None and read.value.transaction.meta.fee == 5000
        assert answer["version"] == 0
    assert b64decode(shown["base64"]["transaction"][0]) == bytes(sent)
    assert decode(shown["base58"]["transaction"][0]) == bytes(sent)
    message = shown["json"]["transaction"]["message"]
    assert (message["header"]["numRequiredSignatures"], message["addressTableLookups"]) == (1, [])
    assert decode(message["instructions"][0]["data"])[:4] == b"\2\0\0\0"
    [parsed] = shown["jsonParsed"]["transaction"]["message"]["instructions"]
    assert parsed["parsed"]["info"]["lamports"] == SOL
    assert "loadedAddresses" in shown["json"]["meta"] and "loadedAddresses" not in shown["jsonParsed"]["meta"]


def test_versions_have_to_be_asked_for(node: Node) -> None:
    new, old = node.chain.send(versioned(node)), node.chain.send(paying(node.chain, 2 * SOL))
    node.chain.advance(4)
    for method, params in (("getTransaction", str(new.signature)), ("getBlock", new.slot)):
        with pytest.raises(RpcError, match='"maxSupportedTransactionVersion": 0') as caught:
            ask(node, method, params)
        assert caught.value.code == -32015
    assert "version" not in ask(node, "getTransaction", str(old.signature))
    assert ask(node, "getTransaction", str(old.signature), NEWEST)["version"] == "legacy"


def test_what_calls_and_returns_is_told(node: Node) -> None:
    call = record(bytes(RECEIPT) + record(b"inside"), Op.INVOKE)
    landed = node.chain.send(emitting(node.chain, call, [AccountMeta(RECEIPT, False, False)]))
    node.chain.advance(4)
    [group] = ask(node, "getTransaction", str(landed.signature), NEWEST)["meta"]["innerInstructions"]
    assert (group["index"], decode(group["instructions"][0]["data"])) == (0, record(b"inside"))
    parsed = ask(node, "getTransaction", str(landed.signature), {"encoding": "jsonParsed", **NEWEST})
    [one] = parsed["meta"]["innerInstructions"][0]["instructions"]
    assert (one["programId"], one["accounts"], one["stackHeight"]) == (str(RECEIPT), [], 2)


def test_token_transfers_are_parsed(node: Node) -> None:
    money = Money(node.chain)
    source, to = money.give(ALICE.pubkey(), HYPER), money.account(BOB.pubkey())
    landed = node.chain.send(node.chain.sign([move(source, to, ALICE.pubkey(), 5)], [ALICE]))
    node.chain.advance(4)
    answer = ask(node, "getTransaction", str(landed.signature), {"encoding": "jsonParsed", **NEWEST})
    [step] = answer["transaction"]["message"]["instructions"]
    assert (step["program"], step["parsed"]["type"]) == ("spl-token", "transfer")
    assert step["parsed"]["info"] == {
        **{"source": str(source), "destination": str(to), "authority": str(ALICE.pubkey()), "amount": "5"},
    }


def test_signatures_of_an_address(node: Node) -> None:
    sent = [node.chain.send(paying(node.chain, SOL + number)) for number in range(3)]
    failed = node.chain.send(paying(node.chain, 10**13))
    node.chain.advance()
    bob, confirmed = str(BOB.pubkey()), {"commitment": "confirmed"}
    page = ask(node, "getSignaturesForAddress", bob, confirmed)
    assert [each["signature"] for each in page] == [str(one.signature) for one in (failed, *reversed(sent))]
    assert page[0]["err"] == failed.err and page[1]["err"] is None
    assert {each["confirmationStatus"] for each in page} == {"confirmed"}
    assert page[0]["blockTime"] == node.chain.blocks.last.time
    assert isinstance(GetSignaturesForAddressResp.from_json(envelope(page)), GetSignaturesForAddressResp)
    options = {**confirmed, "before": str(failed.signature), "until": str(sent[0].signature), "limit": 1}
    assert [each["signature"] for each in ask(node, "getSignaturesForAddress", bob, options)] == [
        str(sent[2].signature)
    ]
    assert ask(node, "getSignaturesForAddress", bob) == []
    node.chain.advance(3)
    assert {each["confirmationStatus"] for each in ask(node, "getSignaturesForAddress", bob)} == {"finalized"}
    for limit in (0, 1001):
        with pytest.raises(RpcError, match="max 1000"):
            ask(node, "getSignaturesForAddress", bob, {"limit": limit})
    with pytest.raises(RpcError, match="confirmed"):
        ask(node, "getSignaturesForAddress", bob, {"commitment": "processed"})
    with pytest.raises(RpcError, match="WrongSize"):
        ask(node, "getSignaturesForAddress", bob, {"before": "abc"})


def test_statuses_rise_with_the_depth(node: Node) -> None:
    landed = node.chain.send(paying(node.chain))
    failed = node.chain.send(paying(node.chain, 10**13))
    signatures = [str(landed.signature), str(failed.signature), str(Signature.new_unique())]
    seen = []
    for _ in range(5):
        [first, second, third] = ask(node, "getSignatureStatuses", signatures)["value"]
        seen.append((first["confirmationStatus"], first["confirmations"]))
        assert third is None
        assert second["err"] == failed.err and second["status"] == {"Err": failed.err}
        node.chain.advance()
    assert seen == [
        *[("processed", 0), ("confirmed", 0), ("confirmed", 1), ("confirmed", 2)],
        ("finalized", None),
    ]
    node.chain.advance(200)
    assert ask(node, "getSignatureStatuses", signatures)["value"] == [None] * 3
    old = ask(node, "getSignatureStatuses", signatures, {"searchTransactionHistory": True})["value"]
    assert old[0]["confirmationStatus"] == "finalized"
    with pytest.raises(RpcError, match="max 256"):
        ask(node, "getSignatureStatuses", signatures[:1] * 257)


def test_the_meta_has_what_real_ones_have(node: Node) -> None:
    landed = node.chain.send(paying(node.chain))
    assert set(msgspec.json.decode(landed.meta)) == {
        *{"err", "status", "fee", "preBalances", "postBalances", "innerInstructions", "logMessages", "rewards"},
        *{"preTokenBalances", "postTokenBalances", "loadedAddresses", "computeUnitsConsumed"},
    }
