"""Methods about the node and the chain as a whole."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.message import Message, MessageV0, from_bytes_versioned

from app.chain.devchain.bank import SLOTS_PER_EPOCH
from app.chain.devchain.config import BLOCKHASH_BLOCKS
from app.chain.devchain.errors import behind, invalid_params
from app.chain.devchain.node import VERSION, Node, method
from app.chain.devchain.params import Params, as_hash

_LAMPORTS_PER_SIGNATURE = 5000
_UNITS_PER_INSTRUCTION = 200_000
_MOST_UNITS = 1_400_000


@method("getHealth")
def get_health(node: Node, params: Params) -> Any:
    if node.lag:
        raise behind(node.lag)
    return "ok"


@method("getVersion")
def get_version(node: Node, params: Params) -> Any:
    return {"solana-core": VERSION, "feature-set": 1}


@method("getIdentity")
def get_identity(node: Node, params: Params) -> Any:
    return {"identity": str(node.chain.faucet.pubkey())}


@method("getGenesisHash")
def get_genesis_hash(node: Node, params: Params) -> Any:
    return str(node.chain.blocks.genesis_hash)


@method("getSlot")
def get_slot(node: Node, params: Params) -> Any:
    return node.view(params.config(0))


@method("getBlockHeight")
def get_block_height(node: Node, params: Params) -> Any:
    return _height(node, node.view(params.config(0)))


@method("getEpochInfo")
def get_epoch_info(node: Node, params: Params) -> Any:
    slot = node.view(params.config(0))
    return {
        "absoluteSlot": slot,
        "blockHeight": _height(node, slot),
        "epoch": slot // SLOTS_PER_EPOCH,
        "slotIndex": slot % SLOTS_PER_EPOCH,
        "slotsInEpoch": SLOTS_PER_EPOCH,
        "transactionCount": len(node.chain.history),
    }


@method("getTransactionCount")
def get_transaction_count(node: Node, params: Params) -> Any:
    return len(node.chain.history)


@method("getFirstAvailableBlock")
def get_first_available_block(node: Node, params: Params) -> Any:
    return 0


@method("minimumLedgerSlot")
def minimum_ledger_slot(node: Node, params: Params) -> Any:
    return 0


@method("getRecentPrioritizationFees")
def get_recent_prioritization_fees(node: Node, params: Params) -> Any:
    return [{"slot": node.view(params.config(1)), "prioritizationFee": 0}]


@method("getLatestBlockhash")
def get_latest_blockhash(node: Node, params: Params) -> Any:
    slot = node.view(params.config(0))
    block = node.chain.blocks.get(slot)
    assert block is not None
    is_open = block is node.chain.blocks.open
    value = {
        "blockhash": str(block.blockhash),
        "lastValidBlockHeight": block.height - is_open + BLOCKHASH_BLOCKS,
    }
    return node.in_context(slot, value)


@method("isBlockhashValid")
def is_blockhash_valid(node: Node, params: Params) -> Any:
    blockhash = as_hash(params.text(0))
    slot = node.view(params.config(1))
    return node.in_context(slot, node.chain.blocks.is_recent(blockhash, _height(node, slot)))


@method("getMinimumBalanceForRentExemption")
def get_minimum_balance_for_rent_exemption(node: Node, params: Params) -> Any:
    return node.chain.bank.svm.minimum_balance_for_rent_exemption(params.integer(0))


@method("getFeeForMessage")
def get_fee_for_message(node: Node, params: Params) -> Any:
    try:
        message = from_bytes_versioned(b64decode(params.text(0), validate=True))
    except ValueError as error:
        raise invalid_params(f"failed to deserialize the message: {error}") from error
    if not isinstance(message, Message | MessageV0):
        raise invalid_params("messages of version 1 are not accepted here")
    slot = node.view(params.config(1))
    recent = node.chain.blocks.is_recent(message.recent_blockhash)
    return node.in_context(slot, _fee(message) if recent else None)


def _height(node: Node, slot: int) -> int:
    block = node.chain.blocks.get(slot)
    assert block is not None
    return block.height


def _fee(message: Message | MessageV0) -> int:
    """Lamports: per signature, and the priority fee (microlamports per compute unit that was asked for)."""
    units, price, others = None, 0, 0
    for one in message.instructions:
        if message.account_keys[one.program_id_index] != COMPUTE_BUDGET:
            others += 1
        elif one.data[:1] == b"\x02":
            units = int.from_bytes(one.data[1:5], "little")
        elif one.data[:1] == b"\x03":
            price = int.from_bytes(one.data[1:9], "little")
    if units is None:
        units = others * _UNITS_PER_INSTRUCTION
    priority = -(-price * min(units, _MOST_UNITS) // 1_000_000)
    return message.header.num_required_signatures * _LAMPORTS_PER_SIGNATURE + priority
