"""The typed methods: what is asked, and what is made of the answers."""

from __future__ import annotations

from typing import Any

import pytest
from solders.signature import Signature

from app.chain.rpc import (
    AccountInfo,
    RpcError,
    SignatureInfo,
    Status,
)
from tests.integration.chain.rpc.conftest import Clients
from tests.support.receiver import Answer
from tests.support.rpc_server import RpcFault, RpcServer, error

SIGNATURES = [str(Signature(bytes([n // 256, n % 256] * 32))) for n in range(600)]


async def test_signatures(node: RpcServer, client_of: Clients) -> None:
    page: list[Any] = [
        {"signature": each, "slot": n, "err": {"Unheard": n} if n % 2 else None, "blockTime": None}
        for n, each in enumerate(SIGNATURES)
    ]
    page[100] = {"signature": 5}
    node.methods["getSignaturesForAddress"] = lambda *params: page
    client = client_of(node)
    found = await client.signatures("addr")
    assert node.bodies[-1]["params"] == ["addr", {"limit": 1000, "commitment": "confirmed"}]
    assert found[0] == SignatureInfo(SIGNATURES[0], 0, False, None)
    assert found[599] == SignatureInfo(SIGNATURES[599], 599, True, None)
    assert [n for n, each in enumerate(found) if each.malformed] == [100]
    await client.signatures("addr", before="b", until="u", limit=5, commitment="finalized", min_slot=9)
    assert node.bodies[-1]["params"] == [
        "addr",
        {"limit": 5, "commitment": "finalized", "before": "b", "until": "u", "minContextSlot": 9},
    ]


async def test_transactions(node: RpcServer, client_of: Clients) -> None:
    def transaction(signature: str, config: Any) -> Any:
        assert config == {"encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 127}
        match SIGNATURES.index(signature):
            case 1:
                return None
            case 2:
                raise RpcFault(-32011, "Transaction history is not available from this node")
            case 3:
                return "nonsense"
        return {"slot": 5, "meta": {"err": {"Unheard": [1]}}}

    node.methods["getTransaction"] = transaction
    found = await client_of(node).transactions(SIGNATURES[:5])
    whole = {"slot": 5, "meta": {"err": {"Unheard": [1]}}}
    assert (found[0], found[1], found[4]) == (whole, None, whole)
    assert [each.code for each in found if isinstance(each, RpcError)] == [-32011, 0]


async def test_a_node_that_knows_fewer_versions_is_asked_for_those(node: RpcServer, client_of: Clients) -> None:
    def transaction(signature: str, config: Any) -> Any:
        if config["maxSupportedTransactionVersion"] > 0 or signature == "bad":
            raise RpcFault(-32602, "Invalid params")
        return {"slot": 5}

    node.methods["getTransaction"] = transaction
    client = client_of(node)
    assert await client.transactions(SIGNATURES[:3]) == [{"slot": 5}] * 3
    assert len(node.bodies) == 2
    found = await client.transactions([SIGNATURES[0], "bad"])
    assert found[0] == {"slot": 5}
    assert isinstance(found[1], RpcError)
    assert len(node.bodies) == 3


async def test_accounts_come_in_chunks(node: RpcServer, client_of: Clients) -> None:
    def accounts(addresses: list[str], config: Any) -> Any:
        assert len(addresses) <= 100
        assert config == {"encoding": "base64", "commitment": "confirmed", "minContextSlot": 4}
        value = [
            None if int(each) % 3 else {"owner": each, "lamports": 2**64 - 1, "data": ["AAEC", "base64"]}
            for each in addresses
        ]
        return {"context": {"slot": 5}, "value": value}

    node.methods["getMultipleAccounts"] = accounts
    found = await client_of(node).accounts([str(n) for n in range(250)], min_slot=4)
    assert found == [None if n % 3 else AccountInfo(str(n), 2**64 - 1, b"\x00\x01\x02") for n in range(250)]
    assert len(node.bodies) == 3


async def test_statuses_come_in_chunks(node: RpcServer, client_of: Clients) -> None:
    def statuses(signatures: list[str], config: Any) -> Any:
        assert len(signatures) <= 256
        assert config == {"searchTransactionHistory": True}
        value = [{"slot": 5, "confirmationStatus": "finalized", "err": {"Unheard": 1}}, *[None] * (len(signatures) - 1)]
        return {"context": {"slot": 5}, "value": value}

    node.methods["getSignatureStatuses"] = statuses
    found = await client_of(node).statuses(SIGNATURES)
    assert {n: each for n, each in enumerate(found) if each} == {n: Status(5, "finalized", True) for n in (0, 256, 512)}


async def test_too_few_accounts_are_no_answer(node: RpcServer, other: RpcServer, client_of: Clients) -> None:
    node.methods["getMultipleAccounts"] = lambda *params: {"value": []}
    other.methods["getMultipleAccounts"] = lambda *params: {"value": [None]}
    assert await client_of(node, other).accounts(["a"]) == [None]


async def test_the_small_ones(node: RpcServer, client_of: Clients) -> None:
    node.methods |= {
        "getBlockHeight": lambda config: 5 if config == {"commitment": "finalized"} else 6,
        "getBlockTime": lambda slot: None if slot else 1700000000,
        "getLatestBlockhash": lambda config: {"value": {"blockhash": "hash", "lastValidBlockHeight": 150}},
        "getTokenAccountBalance": lambda account, config: {"value": {"amount": "18446744073709551615", "decimals": 9}},
        "sendTransaction": lambda wire, config: SIGNATURES[0],
        "getHealth": lambda: "ok",
    }
    client = client_of(node)
    assert await client.slot("finalized") == 7
    assert node.bodies[-1]["params"] == [{"commitment": "finalized"}]
    assert await client.block_height() == 6
    assert await client.block_height("finalized") == 5
    assert (await client.block_time(0), await client.block_time(1)) == (1700000000, None)
    assert await client.latest_blockhash() == ("hash", 150)
    assert await client.token_balance("account") == 2**64 - 1
    assert await client.send(b"\x01\x02", skip_preflight=True) == SIGNATURES[0]
    assert node.bodies[-1]["params"] == [
        "AQI=",
        {"encoding": "base64", "skipPreflight": True, "preflightCommitment": "confirmed"},
    ]
    assert await client.health()


async def test_a_failed_preflight_keeps_what_the_node_says(node: RpcServer, client_of: Clients) -> None:
    data = {"err": {"InstructionError": [0, {"Custom": 6001}]}, "logs": ["Program log: no"], "unitsConsumed": 5}

    def refuse(wire: str, config: Any) -> Any:
        raise RpcFault(-32002, "Transaction simulation failed", data=data)

    node.methods["sendTransaction"] = refuse
    with pytest.raises(RpcError) as caught:
        await client_of(node).send(b"\x00")
    assert (caught.value.code, caught.value.data, len(node.bodies)) == (-32002, data, 1)


async def test_a_lost_answer_to_a_sent_transaction_is_asked_for_with_the_same_bytes(
    node: RpcServer, client_of: Clients
) -> None:
    node.methods["sendTransaction"] = lambda wire, config: SIGNATURES[0]
    node.script += [Answer(raw=b""), Answer(503)]
    assert await client_of(node).send(b"\x07" * 200) == SIGNATURES[0]
    assert len({body["params"][0] for body in node.bodies}) == 1


@pytest.mark.parametrize("sick", [lambda body: error(body, -32005), Answer(502)])
async def test_health(node: RpcServer, other: RpcServer, client_of: Clients, sick: Any) -> None:
    other.methods["getHealth"] = lambda: "ok"
    node.always = sick
    assert await client_of(node, other).health()
    assert not await client_of(node).health()
