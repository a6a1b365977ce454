"""Methods about blocks and slots."""

from __future__ import annotations

from typing import Any

from app.chain.devchain.blocks import Block, Commitment
from app.chain.devchain.encoding import DETAILS, ENCODINGS, with_accounts, with_meta
from app.chain.devchain.errors import block_not_available, invalid_params, slot_skipped
from app.chain.devchain.methods.transactions import appearance
from app.chain.devchain.node import Node, Raw, method
from app.chain.devchain.params import Config, Params
from app.chain.devchain.records import Landed

_MOST_BLOCKS = 500_000


@method("getBlock")
def get_block(node: Node, params: Params) -> Any:
    slot, config = params.integer(0), _config(params)
    block = _settled(node, slot, node.settled_view(config))
    details = config.get("transactionDetails") or "full"
    if details not in DETAILS:
        raise invalid_params(f"Invalid params: unknown variant `{details}`, expected one of {', '.join(DETAILS)}.")
    body: dict[str, Any] = {
        "blockHeight": block.height,
        "blockTime": block.time,
        "blockhash": str(block.blockhash),
        "parentSlot": block.parent,
        "previousBlockhash": str(block.previous),
    }
    if config.get("rewards") is not False:
        body["rewards"] = []
    if details == "signatures":
        body["signatures"] = [str(landed.signature) for landed in block.landed]
    elif details != "none":
        encoding = config.encoding("json", *ENCODINGS)
        newest = config.integer("maxSupportedTransactionVersion")
        shown = [_transaction(node, landed, details, encoding, newest) for landed in block.landed]
        body["transactions"] = Raw(b"[%b]" % b",".join(shown))
    return body


def _transaction(node: Node, landed: Landed, details: str, encoding: str, newest: int | None) -> bytes:
    meta, version = appearance(node, landed)
    if details == "accounts":
        return b"{%b}" % with_accounts(landed, newest, meta, version)
    return b"{%b}" % with_meta(landed, encoding, newest, meta, version)


def _config(params: Params) -> Config:
    # Old clients give the encoding alone.
    if isinstance(params.at(1), str):
        return Config({"encoding": params.at(1)})
    return params.config(1)


def _settled(node: Node, slot: int, newest: int) -> Block:
    """The block of ``slot``, if it is not younger than ``newest``."""
    block = node.chain.blocks.get(slot)
    if block is not None and slot <= newest:
        return block
    if slot > node.chain.blocks.at(Commitment.FINALIZED, node.lag) or block is not None:
        raise block_not_available(slot)
    raise slot_skipped(slot, archive=node.chain.config.archive)


@method("getBlocks")
def get_blocks(node: Node, params: Params) -> Any:
    first, last = params.integer(0), params.at(1)
    config = params.config(1 if isinstance(last, dict) else 2)
    newest = node.settled_view(config)
    wanted = params.integer(1) if isinstance(last, int) else first + _MOST_BLOCKS
    if wanted - first > _MOST_BLOCKS:
        raise invalid_params(f"Slot range too large; max {_MOST_BLOCKS}")
    return node.chain.blocks.between(first, min(wanted, newest))


@method("getBlocksWithLimit")
def get_blocks_with_limit(node: Node, params: Params) -> Any:
    first, limit = params.integer(0), params.integer(1)
    if limit > _MOST_BLOCKS:
        raise invalid_params(f"Limit too large; max {_MOST_BLOCKS}")
    return node.chain.blocks.between(first, node.settled_view(params.config(2)))[:limit]


@method("getBlockTime")
def get_block_time(node: Node, params: Params) -> Any:
    slot = params.integer(0)
    return _settled(node, slot, node.slot(Commitment.PROCESSED)).time
