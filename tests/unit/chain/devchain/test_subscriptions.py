from __future__ import annotations

from typing import Any

import pytest
from solders.account import Account

from app.chain.devchain.emitter import record
from app.chain.devchain.errors import RpcError
from app.chain.devchain.money import keypair
from app.chain.devchain.node import Node
from app.chain.devchain.subscriptions import Subscription, Subscriptions
from tests.unit.chain.devchain.chains import ALICE, BOB, RECEIPT, SOL, asking, emitting, manual, paying


class Client:
    """Keeps what it is told."""

    def __init__(self, node: Node) -> None:
        self.subscriptions = Subscriptions(node)
        node.chain.observers.append(self.subscriptions)
        self.told: list[tuple[int, str, Any]] = []

    def notify(self, subscription: Subscription, result: Any) -> None:
        self.told.append((subscription.number, subscription.notification, result))

    def on(self, method: str, *params: Any) -> int:
        made = self.subscriptions.subscribe(self, method, list(params))
        self.subscriptions.after_subscribing(made)
        return made.number

    def values(self, number: int) -> list[Any]:
        return [result["value"] for each, _, result in self.told if each == number]


@pytest.fixture
def node() -> Node:
    return asking(manual())


@pytest.fixture
def client(node: Node) -> Client:
    return Client(node)


def test_logs_come_at_their_commitment_for_their_key(node: Node, client: Client) -> None:
    levels = ("processed", "confirmed", "finalized")
    numbers = [client.on("logsSubscribe", {"mentions": [str(RECEIPT)]}, {"commitment": level}) for level in levels]
    everything = client.on("logsSubscribe", "all", {"commitment": "processed"})
    landed = node.chain.send(emitting(node.chain, record(b"event")))
    node.chain.send(paying(node.chain))
    assert [len(client.values(number)) for number in (*numbers, everything)] == [1, 0, 0, 2]
    node.chain.advance()
    assert [len(client.values(number)) for number in numbers] == [1, 1, 0]
    node.chain.advance(3)
    assert [len(client.values(number)) for number in numbers] == [1, 1, 1]
    expected = {"signature": str(landed.signature), "err": None, "logs": landed.logs}
    assert [client.values(number) for number in numbers] == [[expected]] * 3
    assert client.told[0][1] == "logsNotification"
    assert client.told[0][2]["context"]["slot"] == landed.slot


def test_failed_transactions_are_told_too(node: Node, client: Client) -> None:
    number = client.on("logsSubscribe", {"mentions": [str(BOB.pubkey())]}, {"commitment": "processed"})
    landed = node.chain.send(paying(node.chain, 10**13))
    assert landed.err is not None
    assert client.values(number)[0]["err"] == landed.err


def test_a_signature_is_told_once(node: Node, client: Client) -> None:
    sent = paying(node.chain)
    signature = str(sent.signatures[0])
    number = client.on("signatureSubscribe", signature, {"commitment": "confirmed"})
    early = client.on("signatureSubscribe", signature, {"commitment": "processed", "enableReceivedNotification": True})
    node.chain.send(sent)
    assert client.values(early) == ["receivedSignature", {"err": None}]
    assert client.values(number) == []
    node.chain.advance(2)
    assert client.values(number) == [{"err": None}]
    late = client.on("signatureSubscribe", signature, {"commitment": "confirmed"})
    assert client.values(late) == [{"err": None}]
    assert len(client.subscriptions) == 0


def test_slots_and_roots(node: Node, client: Client) -> None:
    slots, roots = client.on("slotSubscribe"), client.on("rootSubscribe")
    node.chain.advance()
    node.chain.skip(2)
    told = [result for number, _, result in client.told if number == slots]
    tip = node.chain.slot
    assert [(each["slot"], each["parent"]) for each in told] == [(tip - 3, tip - 4), (tip, tip - 3)]
    assert {name for number, name, _ in client.told if number == roots} == {"rootNotification"}
    finalized = [result for number, _, result in client.told if number == roots]
    assert finalized == list(range(told[0]["root"], told[1]["root"] + 1))


def test_accounts_are_told_when_they_change(node: Node, client: Client) -> None:
    key = str(BOB.pubkey())
    quick = client.on("accountSubscribe", key, {"commitment": "processed", "encoding": "base64"})
    slow = client.on("accountSubscribe", key, {"commitment": "confirmed", "encoding": "base64"})
    for lamports in (SOL, 2 * SOL):
        node.chain.send(paying(node.chain, lamports))
    node.chain.send(paying(node.chain, 10**13))
    assert [value["lamports"] for value in client.values(quick)] == [SOL, 3 * SOL]
    node.chain.advance()
    assert [value["lamports"] for value in client.values(slow)] == [3 * SOL]
    node.chain.set_account(BOB.pubkey(), Account(7, b"", RECEIPT))
    node.chain.advance()
    assert [client.values(number)[-1]["owner"] for number in (quick, slow)] == [str(RECEIPT)] * 2


def test_data_that_base58_does_not_take_is_told_of(node: Node, client: Client) -> None:
    number = client.on("accountSubscribe", str(BOB.pubkey()), {"commitment": "processed"})
    node.chain.set_account(BOB.pubkey(), Account(SOL, bytes(200), RECEIPT))
    node.chain.advance()
    assert client.values(number)[0]["data"] == ["error: data too large for bs58 encoding", "base58"]


def test_accounts_of_a_program(node: Node, client: Client) -> None:
    config = {"commitment": "confirmed", "encoding": "base64", "filters": [{"dataSize": 3}]}
    number = client.on("programSubscribe", str(RECEIPT), config)
    for data in (b"one", b"four"):
        node.chain.set_account(keypair(data.hex()).pubkey(), Account(SOL, data, RECEIPT))
    node.chain.advance()
    assert [value["pubkey"] for value in client.values(number)] == [str(keypair(b"one".hex()).pubkey())]


def test_after_a_fork_the_new_blocks_are_told(node: Node, client: Client) -> None:
    number = client.on("logsSubscribe", {"mentions": [str(BOB.pubkey())]}, {"commitment": "confirmed"})
    landed = node.chain.send(paying(node.chain))
    node.chain.advance()
    node.chain.fork(1)
    node.chain.advance()
    assert [value["signature"] for value in client.values(number)] == [str(landed.signature)] * 2
    slots = [result["context"]["slot"] for each, _, result in client.told if each == number]
    assert slots[0] < slots[1]


def test_subscriptions_end(node: Node, client: Client) -> None:
    other = Client(node)
    number = client.on("slotSubscribe")
    with pytest.raises(RpcError, match="Invalid subscription"):
        client.subscriptions.unsubscribe(other, "slotUnsubscribe", [number])
    assert client.subscriptions.unsubscribe(client, "slotUnsubscribe", [number]) is True
    with pytest.raises(RpcError, match="Invalid subscription"):
        client.subscriptions.unsubscribe(client, "slotUnsubscribe", [number])
    client.on("logsSubscribe", "all")
    client.on("accountSubscribe", str(ALICE.pubkey()))
    client.subscriptions.forget(client)
    node.chain.airdrop(ALICE.pubkey(), SOL)
    node.chain.advance(6)
    assert client.told == [] and len(client.subscriptions) == 0


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("logsSubscribe", [], -32602),
        ("logsSubscribe", ["some"], -32602),
        ("logsSubscribe", [{"mentions": []}], -32602),
        ("logsSubscribe", [{"mentions": [str(RECEIPT), str(RECEIPT)]}], -32602),
        ("logsSubscribe", [{"mentions": ["x"]}], -32602),
        ("signatureSubscribe", ["x"], -32602),
        ("accountSubscribe", [str(keypair("none").pubkey()), {"encoding": "rot13"}], -32602),
        ("accountSubscribe", [str(keypair("none").pubkey()), {"dataSlice": 5}], -32602),
        ("programSubscribe", [str(RECEIPT), {"filters": [1]}], -32602),
        ("programSubscribe", [str(RECEIPT), {"dataSlice": {"offset": 1}}], -32602),
        ("voteSubscribe", [], -32601),
        ("blockSubscribe", ["all"], -32601),
    ],
)
def test_wrong_subscriptions_are_refused(client: Client, method: str, params: list[Any], code: int) -> None:
    with pytest.raises(RpcError) as caught:
        client.on(method, *params)
    assert caught.value.code == code
    assert len(client.subscriptions) == 0
