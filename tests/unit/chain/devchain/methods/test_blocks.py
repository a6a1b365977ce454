from __future__ import annotations

import json
from typing import Any

import pytest
from solders.rpc.responses import GetBlockResp

from app.chain.devchain.errors import RpcError
from app.chain.devchain.node import Node
from tests.unit.chain.devchain.chains import ALICE, BOB, SOL, ask, asking, manual, paying


@pytest.fixture
def node() -> Node:
    """Two payments in one block, then two skipped slots, then a lot of blocks."""
    chain = manual()
    chain.send(paying(chain, SOL))
    chain.send(paying(chain, 2 * SOL))
    chain.skip(2)
    chain.advance(5)
    return asking(chain)


def full(node: Node) -> int:
    return node.chain.history.page(BOB.pubkey(), node.chain.slot, None, None, 1)[0].slot


def code(node: Node, method: str, *params: Any) -> int:
    with pytest.raises(RpcError) as caught:
        ask(node, method, *params)
    return caught.value.code


def test_a_block_tells_its_place_and_its_transactions(node: Node) -> None:
    slot = full(node)
    block = ask(node, "getBlock", slot, {"maxSupportedTransactionVersion": 0})
    stored = node.chain.blocks.get(slot)
    assert stored is not None
    assert (block["parentSlot"], block["blockHeight"], block["blockTime"]) == (slot - 1, stored.height, stored.time)
    assert (block["blockhash"], block["previousBlockhash"]) == (str(stored.blockhash), str(stored.previous))
    assert [each["meta"]["postBalances"][1] for each in block["transactions"]] == [SOL, 3 * SOL]
    read = GetBlockResp.from_json(json.dumps({"jsonrpc": "2.0", "id": 1, "result": block}))
    assert isinstance(read, GetBlockResp) and read.value.transactions is not None
    assert len(read.value.transactions) == 2
    after = ask(node, "getBlock", slot + 3)
    assert (after["parentSlot"], after["previousBlockhash"]) == (slot, block["blockhash"])


def test_a_block_tells_no_more_than_asked(node: Node) -> None:
    def block(**config: Any) -> dict[str, Any]:
        answer: dict[str, Any] = ask(node, "getBlock", full(node), {"maxSupportedTransactionVersion": 0, **config})
        return answer

    slim = block(transactionDetails="none", rewards=False)
    assert "transactions" not in slim and "signatures" not in slim and "rewards" not in slim
    assert len(block(transactionDetails="signatures")["signatures"]) == 2
    [first, _] = block(transactionDetails="accounts")["transactions"]
    assert first["transaction"]["accountKeys"][0] == {
        **{"pubkey": str(ALICE.pubkey()), "signer": True, "writable": True, "source": "transaction"},
    }
    assert "logMessages" not in first["meta"] and first["meta"]["fee"] == 5000
    assert code(node, "getBlock", full(node), {"transactionDetails": "some"}) == -32602


def test_slots_without_a_block(node: Node) -> None:
    slot, tip = full(node), node.chain.slot
    assert code(node, "getBlock", slot + 1) == -32007
    assert code(node, "getBlockTime", slot + 2) == -32007
    assert code(node, "getBlock", tip) == -32004
    assert code(node, "getBlock", tip + 1000) == -32004
    assert code(node, "getBlockTime", tip + 1000) == -32004
    # Confirmed but not final yet.
    assert code(node, "getBlock", tip - 1) == -32004
    assert ask(node, "getBlock", tip - 1, {"commitment": "confirmed"})["parentSlot"] == tip - 2
    assert code(node, "getBlock", slot, {"commitment": "processed"}) == -32602


def test_an_archive_words_skipped_slots_its_own_way() -> None:
    chain = manual(archive=True)
    slot = chain.slot
    chain.skip(1)
    chain.advance(6)
    with pytest.raises(RpcError, match="long-term storage") as caught:
        ask(asking(chain), "getBlock", slot + 1)
    assert caught.value.code == -32009


def test_lists_of_blocks_leave_skipped_slots_out(node: Node) -> None:
    slot, final = full(node), node.chain.slot_at("finalized")
    assert ask(node, "getBlocks", slot, slot + 3) == [slot, slot + 3]
    assert ask(node, "getBlocks", slot) == [slot, *range(slot + 3, final + 1)]
    assert ask(node, "getBlocks", slot, {"commitment": "confirmed"})[-1] == node.chain.slot - 1
    assert ask(node, "getBlocks", slot, None, {"commitment": "confirmed"})[-1] == node.chain.slot - 1
    assert ask(node, "getBlocks", slot + 9, slot) == []
    assert ask(node, "getBlocksWithLimit", slot, 2) == [slot, slot + 3]
    assert code(node, "getBlocks", 0, 500_001) == -32602
    assert ask(node, "getBlockTime", 0) == ask(node, "getBlock", 0)["blockTime"]
