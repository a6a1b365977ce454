from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import pytest
from solders.account import Account
from solders.rpc.responses import GetAccountInfoResp, GetMultipleAccountsResp, GetProgramAccountsResp

from app.chain.devchain import tokens
from app.chain.devchain.base58 import encode
from app.chain.devchain.errors import RpcError
from app.chain.devchain.money import HYPER, Money, keypair
from app.chain.devchain.node import Node
from tests.unit.chain.devchain.chains import ALICE, BOB, RECEIPT, SOL, ask, asking, manual, paying

DATA = keypair("data").pubkey()


@pytest.fixture
def node() -> Node:
    chain = manual()
    chain.set_account(DATA, Account(SOL, b"0123456789", RECEIPT))
    chain.advance(6)
    return asking(chain)


def envelope(result: Any) -> str:
    import json

    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result})


def test_accounts_are_told_in_the_encoding_asked_for(node: Node) -> None:
    def data(**config: Any) -> Any:
        return ask(node, "getAccountInfo", str(DATA), config)["value"]["data"]

    base64 = b64encode(b"0123456789").decode()
    assert data() == encode(b"0123456789")
    assert data(encoding="base58") == [encode(b"0123456789"), "base58"]
    assert data(encoding="base64") == [base64, "base64"]
    assert data(encoding="jsonParsed") == [base64, "base64"]
    assert data(encoding="base64", dataSlice={"offset": 3, "length": 2}) == [b64encode(b"34").decode(), "base64"]
    with pytest.raises(RpcError, match="unknown variant"):
        data(encoding="rot13")


def test_an_account_has_all_its_fields_and_parses(node: Node) -> None:
    answer = ask(node, "getAccountInfo", str(DATA), {"encoding": "base64"})
    assert answer["context"]["slot"] == node.chain.slot_at("finalized")
    assert {key: value for key, value in answer["value"].items() if key != "data"} == {
        **{"lamports": SOL, "owner": str(RECEIPT), "executable": False, "rentEpoch": 2**64 - 1, "space": 10},
    }
    read = GetAccountInfoResp.from_json(envelope(answer))
    assert isinstance(read, GetAccountInfoResp) and read.value is not None and read.value.data == b"0123456789"
    assert ask(node, "getAccountInfo", str(BOB.pubkey()))["value"] is None


def test_long_data_does_not_go_into_base58(node: Node) -> None:
    node.chain.set_account(DATA, Account(SOL, bytes(129), RECEIPT))
    with pytest.raises(RpcError, match="128 bytes") as caught:
        ask(node, "getAccountInfo", str(DATA), {"commitment": "processed"})
    assert caught.value.code == -32600


def test_reads_are_as_of_their_commitment(node: Node) -> None:
    node.chain.send(paying(node.chain))
    bob = str(BOB.pubkey())
    levels = ("processed", "confirmed", "finalized")
    assert [ask(node, "getBalance", bob, {"commitment": level})["value"] for level in levels] == [SOL, 0, 0]
    node.chain.advance()
    assert [ask(node, "getBalance", bob, {"commitment": level})["value"] for level in levels] == [SOL, SOL, 0]


def test_a_slot_that_is_not_reached_yet(node: Node) -> None:
    slot = node.chain.slot_at("finalized")
    assert ask(node, "getBalance", str(BOB.pubkey()), {"minContextSlot": slot})["value"] == 0
    with pytest.raises(RpcError) as caught:
        ask(node, "getBalance", str(BOB.pubkey()), {"minContextSlot": slot + 1})
    assert (caught.value.code, caught.value.data) == (-32016, {"contextSlot": slot})


def test_many_accounts_at_once(node: Node) -> None:
    answer = ask(node, "getMultipleAccounts", [str(DATA), str(BOB.pubkey()), str(ALICE.pubkey())])
    read = GetMultipleAccountsResp.from_json(envelope(answer))
    assert isinstance(read, GetMultipleAccountsResp)
    assert [each and each.lamports for each in read.value][:2] == [SOL, None]
    with pytest.raises(RpcError, match="max 100"):
        ask(node, "getMultipleAccounts", [str(DATA)] * 101)
    with pytest.raises(RpcError, match="WrongSize"):
        ask(node, "getMultipleAccounts", ["abc"])
    with pytest.raises(RpcError, match="Invalid"):
        ask(node, "getMultipleAccounts", ["0OIl"])


def test_accounts_of_a_program_pass_all_filters(node: Node) -> None:
    other = keypair("other").pubkey()
    node.chain.set_account(other, Account(SOL, b"01_", RECEIPT))

    def found(*filters: dict[str, Any], **config: Any) -> list[str]:
        config = {"encoding": "base64", "commitment": "processed", "filters": list(filters), **config}
        return [each["pubkey"] for each in ask(node, "getProgramAccounts", str(RECEIPT), config)]

    assert set(found()) == {str(DATA), str(other)}
    assert found({"dataSize": 3}) == [str(other)]
    assert found({"memcmp": {"offset": 2, "bytes": encode(b"23")}}) == [str(DATA)]
    assert found({"memcmp": {"offset": 0, "bytes": b64encode(b"01").decode(), "encoding": "base64"}}, {"dataSize": 10})
    assert found({"memcmp": {"offset": 0, "bytes": [48, 49, 95]}}) == [str(other)]
    assert found({"memcmp": {"offset": 9, "bytes": encode(b"90")}}) == []
    assert found(commitment="finalized") == [str(DATA)]
    read = GetProgramAccountsResp.from_json(
        envelope(ask(node, "getProgramAccounts", str(RECEIPT), {"encoding": "base64"}))
    )
    assert isinstance(read, GetProgramAccountsResp) and read.value[0].account.data == b"0123456789"
    assert ask(node, "getProgramAccounts", str(RECEIPT), {"withContext": True})["context"]["slot"]
    for bad in ({"size": 3}, {"memcmp": {"offset": 0}}, {"memcmp": {"offset": 0, "bytes": "0"}}, {"dataSize": "x"}, 5):
        with pytest.raises(RpcError) as caught:
            found(bad)  # type: ignore[arg-type]
        assert caught.value.code == -32602
    with pytest.raises(RpcError, match="max 4"):
        found(*[{"dataSize": 1}] * 5)


def test_token_accounts_and_mints(node: Node) -> None:
    money = Money(node.chain)
    address = str(money.give(BOB.pubkey(), 5 * HYPER // 2))
    config = {"commitment": "processed", "encoding": "jsonParsed"}
    balance = ask(node, "getTokenAccountBalance", address, config)["value"]
    assert balance == {"amount": "2500000000", "decimals": 9, "uiAmount": 2.5, "uiAmountString": "2.5"}
    assert ask(node, "getTokenSupply", str(money.mint), config)["value"]["uiAmountString"] == "2.5"
    parsed = ask(node, "getAccountInfo", address, config)["value"]["data"]
    assert (parsed["program"], parsed["parsed"]["type"], parsed["space"]) == ("spl-token", "account", 165)
    assert parsed["parsed"]["info"]["tokenAmount"] == balance
    mint = ask(node, "getAccountInfo", str(money.mint), config)["value"]["data"]["parsed"]
    assert (mint["type"], mint["info"]["decimals"], mint["info"]["supply"]) == ("mint", 9, "2500000000")
    for wanted in ({"mint": str(money.mint)}, {"programId": str(tokens.TOKEN)}):
        owned = ask(node, "getTokenAccountsByOwner", str(BOB.pubkey()), wanted, config)["value"]
        assert [each["pubkey"] for each in owned] == [address]
    for wanted in ({"mint": str(money.mint)}, {"mint": str(DATA)}, {"programId": str(RECEIPT)}):
        with pytest.raises(RpcError, match="Invalid param"):
            ask(node, "getTokenAccountsByOwner", str(BOB.pubkey()), wanted)
    for key in (str(DATA), str(keypair("nowhere").pubkey())):
        with pytest.raises(RpcError, match="account"):
            ask(node, "getTokenAccountBalance", key)


def test_data_comes_back_as_it_was_put(node: Node) -> None:
    [text, _] = ask(node, "getAccountInfo", str(DATA), {"encoding": "base64"})["value"]["data"]
    assert b64decode(text) == b"0123456789"
