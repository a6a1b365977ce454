from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.message import Message, to_bytes_versioned

from app.chain.devchain.errors import RpcError
from app.chain.devchain.node import Node
from tests.unit.chain.devchain.chains import ALICE, ask, asking, manual, paying


@pytest.fixture
def node() -> Node:
    return asking(manual())


def test_slots_and_heights_are_those_of_the_commitment(node: Node) -> None:
    node.chain.skip(10)
    node.chain.advance(2)
    chain, levels = node.chain, ("processed", "confirmed", "finalized")
    assert [ask(node, "getSlot", {"commitment": level}) for level in levels] == list(map(chain.slot_at, levels))
    heights = [ask(node, "getBlockHeight", {"commitment": level}) for level in levels]
    assert heights[0] == heights[1] + 1 == chain.blocks.open.height
    assert ask(node, "getSlot") - ask(node, "getBlockHeight") in (0, 10)
    epoch = ask(node, "getEpochInfo", {"commitment": "processed"})
    assert (epoch["absoluteSlot"], epoch["epoch"], epoch["slotIndex"]) == (chain.slot, 0, chain.slot)
    assert epoch["transactionCount"] == ask(node, "getTransactionCount") == 1


def test_blockhashes_and_how_long_they_last(node: Node) -> None:
    latest = ask(node, "getLatestBlockhash")
    height = ask(node, "getBlockHeight")
    assert latest["value"]["lastValidBlockHeight"] == height + 150
    assert ask(node, "isBlockhashValid", latest["value"]["blockhash"])["value"] is True
    assert ask(node, "isBlockhashValid", str(Hash.default()))["value"] is False
    fresh = ask(node, "getLatestBlockhash", {"commitment": "processed"})["value"]
    assert fresh["blockhash"] == str(node.chain.blocks.last.blockhash)
    assert fresh["lastValidBlockHeight"] == node.chain.blocks.last.height + 150
    # A node does not know at one commitment what has happened behind it.
    assert ask(node, "isBlockhashValid", fresh["blockhash"])["value"] is False
    assert ask(node, "isBlockhashValid", fresh["blockhash"], {"commitment": "confirmed"})["value"] is True


def test_fees_are_by_signature_and_priority(node: Node) -> None:
    def fee(message: Message) -> Any:
        return ask(node, "getFeeForMessage", b64encode(to_bytes_versioned(message)).decode())["value"]

    paid = paying(node.chain)
    assert isinstance(paid.message, Message)
    assert fee(paid.message) == 5000
    steps = [set_compute_unit_limit(100_000), set_compute_unit_price(25_000)]
    blockhash, _ = node.chain.latest_blockhash()
    assert fee(Message.new_with_blockhash(steps, ALICE.pubkey(), blockhash)) == 5000 + 2500
    assert fee(Message.new_with_blockhash(steps, ALICE.pubkey(), Hash.default())) is None
    with pytest.raises(RpcError, match="deserialize"):
        ask(node, "getFeeForMessage", "AAAA")


def test_the_small_ones(node: Node) -> None:
    assert ask(node, "getHealth") == "ok"
    assert ask(node, "getVersion")["solana-core"].count(".") == 2
    assert ask(node, "getGenesisHash") == ask(node, "getBlock", 0)["blockhash"]
    assert ask(node, "getMinimumBalanceForRentExemption", 165) == 2_039_280
    assert ask(node, "getFirstAvailableBlock") == ask(node, "minimumLedgerSlot") == 0
    assert ask(node, "getRecentPrioritizationFees")[0]["prioritizationFee"] == 0
    assert len(ask(node, "getIdentity")["identity"]) > 31
