from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.message import Message
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from app.chain.devchain.base58 import encode
from app.chain.devchain.emitter import Op, record
from app.chain.devchain.errors import RpcError
from app.chain.devchain.money import keypair
from app.chain.devchain.node import Node
from tests.unit.chain.devchain.chains import (
    ALICE,
    BOB,
    RECEIPT,
    SOL,
    ask,
    asking,
    emitting,
    lamports,
    manual,
    paying,
    wire,
)

BASE64 = {"encoding": "base64"}
CARELESS = {**BASE64, "skipPreflight": True}


@pytest.fixture
def node() -> Node:
    return asking(manual())


def refused(node: Node, *params: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        ask(node, "sendTransaction", *params)
    return caught.value


def test_transactions_come_in_base64_or_base58(node: Node) -> None:
    first, second = paying(node.chain), paying(node.chain, 2 * SOL)
    assert ask(node, "sendTransaction", wire(first), BASE64) == str(first.signatures[0])
    assert ask(node, "sendTransaction", encode(bytes(second))) == str(second.signatures[0])
    assert lamports(node.chain, BOB.pubkey()) == 3 * SOL


def test_a_failing_transaction_fails_in_preflight_and_never_lands(node: Node) -> None:
    sent = emitting(node.chain, record(b"seen") + record(b"\7\0\0\0", Op.FAIL))
    error = refused(node, wire(sent), BASE64)
    assert error.code == -32002
    assert error.message == ("Transaction simulation failed: Error processing Instruction 0: custom program error: 0x7")
    assert error.data["err"] == {"InstructionError": [0, {"Custom": 7}]}
    assert error.data["unitsConsumed"] > 0
    assert any(line.startswith("Program data: ") for line in error.data["logs"])
    assert node.chain.transaction(sent.signatures[0]) is None


def test_without_preflight_it_lands_and_fails(node: Node) -> None:
    sent = emitting(node.chain, record(b"\7\0\0\0", Op.FAIL))
    assert ask(node, "sendTransaction", wire(sent), CARELESS) == str(sent.signatures[0])
    landed = node.chain.transaction(sent.signatures[0])
    assert landed is not None and landed.err == {"InstructionError": [0, {"Custom": 7}]}


def test_what_cannot_land_is_refused_or_lost_without_a_word(node: Node) -> None:
    twice = paying(node.chain)
    node.chain.send(twice)
    message = paying(node.chain, 3).message
    step = Instruction(RECEIPT, b"", [])
    poor = keypair("poor")
    cases = [
        (twice, -32002, "This transaction has already been processed", "AlreadyProcessed"),
        (paying(node.chain, blockhash=Hash.default()), -32002, "Blockhash not found", "BlockhashNotFound"),
        (node.chain.sign([step], [poor]), -32002, "no record of a prior credit", "AccountNotFound"),
        (VersionedTransaction.populate(message, [Signature.new_unique()]), -32003, "signature verification", None),
        (VersionedTransaction.populate(message, [Signature.default()]), -32003, "signature verification", None),
    ]
    count = len(node.chain.history)
    for sent, code, words, err in cases:
        error = refused(node, wire(sent), BASE64)
        assert (error.code, words in error.message) == (code, True), error.message
        if err is not None:
            assert (error.data["err"], error.data["logs"]) == (err, [])
        assert ask(node, "sendTransaction", wire(sent), CARELESS) == str(sent.signatures[0])
    assert len(node.chain.history) == count


@pytest.mark.parametrize(
    ("text", "config", "words"),
    [
        ("!!", BASE64, "invalid base64"),
        ("0OIl", {}, "invalid base58"),
        ("AAAA", BASE64, "failed to deserialize"),
        (b64encode(bytes(200)).decode(), BASE64, "failed to deserialize"),
        (b64encode(bytes(1233)).decode(), BASE64, "too large"),
        ("A" * 1700, BASE64, "too large: 1700 bytes (max: encoded/raw 1644/1232)"),
        ("1" * 1684, {}, "too large: 1684 bytes (max: encoded/raw 1683/1232)"),
        ("AAAA", {"encoding": "json"}, "unknown variant"),
        (7, BASE64, "expected a string"),
    ],
)
def test_what_is_no_transaction_is_a_wrong_parameter(node: Node, text: Any, config: Any, words: str) -> None:
    error = refused(node, text, config)
    assert (error.code, words in error.message) == (-32602, True), error.message


def test_a_transaction_of_one_byte_too_many(node: Node) -> None:
    free = 1232 - len(bytes(emitting(node.chain, b""))) - 1
    ask(node, "sendTransaction", wire(emitting(node.chain, record(bytes(free - 4)))), BASE64)
    error = refused(node, wire(emitting(node.chain, record(bytes(free - 3)))), BASE64)
    assert (error.code, "too large: 1233 bytes" in error.message) == (-32602, True)


def test_preflight_waits_for_its_context(node: Node) -> None:
    assert refused(node, wire(paying(node.chain)), {**BASE64, "minContextSlot": 10**6}).code == -32016


def test_airdrops_arrive(node: Node) -> None:
    signature = ask(node, "requestAirdrop", str(BOB.pubkey()), SOL)
    assert node.chain.transaction(Signature.from_string(signature)) is not None
    assert lamports(node.chain, BOB.pubkey()) == SOL
    with pytest.raises(RpcError, match="u64"):
        ask(node, "requestAirdrop", str(BOB.pubkey()), -1)


def test_simulation_tells_what_would_be(node: Node) -> None:
    config = {**BASE64, "accounts": {"encoding": "base64", "addresses": [str(BOB.pubkey())]}, "sigVerify": True}
    value = ask(node, "simulateTransaction", wire(paying(node.chain)), config)["value"]
    assert (value["err"], value["accounts"][0]["lamports"], value["unitsConsumed"]) == (None, SOL, 150)
    assert lamports(node.chain, BOB.pubkey()) == 0
    failed = ask(node, "simulateTransaction", wire(paying(node.chain, 10**13)), config)["value"]
    assert (failed["err"], failed["accounts"]) == ({"InstructionError": [0, {"Custom": 1}]}, [None])


def test_simulation_needs_neither_signature_nor_blockhash(node: Node) -> None:
    message = paying(node.chain, blockhash=Hash.default()).message
    unsigned = wire(VersionedTransaction.populate(message, [Signature.default()]))
    assert ask(node, "simulateTransaction", unsigned, BASE64)["value"]["err"] == "BlockhashNotFound"
    value = ask(node, "simulateTransaction", unsigned, {**BASE64, "replaceRecentBlockhash": True})["value"]
    assert (value["err"], value["replacementBlockhash"]["blockhash"]) == (None, str(node.chain.blocks.last.blockhash))
    for config, code in (({"sigVerify": True}, -32003), ({"sigVerify": True, "replaceRecentBlockhash": True}, -32602)):
        with pytest.raises(RpcError) as caught:
            ask(node, "simulateTransaction", unsigned, {**BASE64, **config})
        assert caught.value.code == code


def test_simulation_shows_inner_instructions_when_asked(node: Node) -> None:
    call = record(bytes(RECEIPT) + record(b"inside"), Op.INVOKE)
    sent = wire(emitting(node.chain, call, [AccountMeta(RECEIPT, False, False)]))
    assert ask(node, "simulateTransaction", sent, BASE64)["value"]["innerInstructions"] is None
    value = ask(node, "simulateTransaction", sent, {**BASE64, "innerInstructions": True})["value"]
    assert value["innerInstructions"][0]["instructions"][0]["programId"] == str(RECEIPT)


def test_a_return_value_is_told(node: Node) -> None:
    from app.chain.devchain import tokens
    from app.chain.devchain.money import Money

    money = Money(node.chain)
    # GetAccountDataSize answers by return data.
    step = Instruction(tokens.TOKEN, b"\x15", [AccountMeta(money.mint, False, False)])
    sent = node.chain.sign([step], [ALICE])
    value = ask(node, "simulateTransaction", wire(sent), BASE64)["value"]
    expected = {"programId": str(tokens.TOKEN), "data": [b64encode((165).to_bytes(8, "little")).decode(), "base64"]}
    assert value["returnData"] == expected
    node.chain.send(sent)
    node.chain.advance(4)
    assert ask(node, "getTransaction", str(sent.signatures[0]))["meta"]["returnData"] == expected


def test_messages_may_be_of_any_length_that_fits(node: Node) -> None:
    message = Message.new_with_blockhash([], ALICE.pubkey(), node.chain.latest_blockhash()[0])
    sent = VersionedTransaction(message, [ALICE])
    assert ask(node, "sendTransaction", wire(sent), BASE64) == str(sent.signatures[0])
