"""Methods about landed transactions."""

from __future__ import annotations

import random
from itertools import groupby
from typing import Any

import msgspec
from solders.pubkey import Pubkey
from solders.signature import Signature

from app.chain.devchain.blocks import Commitment
from app.chain.devchain.config import BLOCKHASH_BLOCKS
from app.chain.devchain.encoding import ENCODINGS, with_meta
from app.chain.devchain.errors import invalid_params
from app.chain.devchain.faults import Kind
from app.chain.devchain.node import Node, Raw, method
from app.chain.devchain.params import Config, Params, as_signature
from app.chain.devchain.records import Landed, encode_json

_MOST_SIGNATURES = 1000
_MOST_STATUSES = 256
UNKNOWN_ERR = {"EntangledWithAnotherUniverse": {"account_index": 3}}
"""A TransactionError that no version has."""

_APPEARANCE = (Kind.UNKNOWN_ERR, Kind.TRUNCATE_LOGS, Kind.NULL_LOGS, Kind.VERSION_1)


def appearance(node: Node, landed: Landed) -> tuple[bytes, int]:
    """``meta`` (JSON) and version of a transaction, as faults make them look."""
    if not node.faults:
        return landed.meta, landed.version
    signature, version = str(landed.signature), landed.version
    meta: dict[str, Any] = {}
    for kind in _APPEARANCE:
        if kind is Kind.UNKNOWN_ERR:
            err = shown_err(node, landed)
            if err is not landed.err:
                meta = meta or msgspec.json.decode(landed.meta)
                meta["err"], meta["status"] = err, {"Err": err}
            continue
        fault = node.faults.strike(kind, signature=signature)
        if fault is None:
            continue
        if kind is Kind.VERSION_1:
            version = 1
            continue
        meta = meta or msgspec.json.decode(landed.meta)
        kept = 1 if fault.value is None else int(fault.value)
        meta["logMessages"] = None if kind is Kind.NULL_LOGS else [*meta["logMessages"][:kept], "Log truncated"]
    return (encode_json(meta) if meta else landed.meta), version


def shown_err(node: Node, landed: Landed) -> Any:
    """``err`` of a transaction, as faults make it look."""
    signature = str(landed.signature)
    fault = node.faults.strike(Kind.UNKNOWN_ERR, signature=signature) if node.faults else None
    # Unasked, it must not make a success look like a failure.
    if fault is None or (landed.err is None and signature not in fault.signatures):
        return landed.err
    return UNKNOWN_ERR if fault.value is None else fault.value


@method("getTransaction")
def get_transaction(node: Node, params: Params) -> Any:
    signature = params.signature(0)
    config = Config({"encoding": params.at(1)}) if isinstance(params.at(1), str) else params.config(1)
    newest = node.settled_view(config)
    encoding = config.encoding("json", *ENCODINGS)
    if node.faults:
        struck = {"method": "getTransaction", "signature": str(signature)}
        if node.faults.strike(Kind.NULL_TRANSACTION, **struck):
            return None
        if fault := node.faults.strike(Kind.BAD_TRANSACTION, **struck):
            return {"slot": "soon", "meta": 5} if fault.value is None else fault.value
    landed = node.chain.history.get(signature)
    if landed is None or landed.slot > newest:
        return None
    block = node.chain.blocks.get(landed.slot)
    assert block is not None
    meta, version = appearance(node, landed)
    shown = with_meta(landed, encoding, config.integer("maxSupportedTransactionVersion"), meta, version)
    return Raw(b'{"slot":%d,%b,"blockTime":%d}' % (landed.slot, shown, block.time))


@method("getSignaturesForAddress")
def get_signatures_for_address(node: Node, params: Params) -> Any:
    address, config = params.pubkey(0), params.config(1)
    newest = node.settled_view(config)
    limit = config.integer("limit", _MOST_SIGNATURES) or 0
    if not 1 <= limit <= _MOST_SIGNATURES:
        raise invalid_params(f"Invalid limit; max {_MOST_SIGNATURES}")
    before, until = config.signature("before"), config.signature("until")
    if not node.faults:
        return _entries(node, node.chain.history.page(address, newest, before, until, limit))
    key = str(address)
    if node.faults.strike(Kind.EMPTY_PAGE, method="getSignaturesForAddress", address=key):
        return []
    if fault := node.faults.strike(Kind.SHUFFLE, method="getSignaturesForAddress", address=key):
        page = _shuffled(node, address, newest, before, until, limit, again=fault.value == "each")
    else:
        page = node.chain.history.page(address, newest, before, until, limit)
    entries = _entries(node, page)
    if entries and (fault := node.faults.strike(Kind.BAD_ENTRY, method="getSignaturesForAddress", address=key)):
        entries[len(entries) // 2] = {"signature": 17, "slot": None} if fault.value is None else fault.value
    return entries


def _entries(node: Node, page: list[Landed]) -> list[Any]:
    finalized = node.slot(Commitment.FINALIZED)
    entries: list[Any] = []
    slot, time = -1, 0
    for landed in page:
        if landed.slot != slot:
            slot = landed.slot
            block = node.chain.blocks.get(slot)
            assert block is not None
            time = block.time
        entries.append(
            {
                "signature": str(landed.signature),
                "slot": slot,
                "err": shown_err(node, landed),
                "memo": landed.memo,
                "blockTime": time,
                "confirmationStatus": "finalized" if slot <= finalized else "confirmed",
            }
        )
    return entries


_shuffles = random.Random(0)


def _shuffled(
    node: Node,
    address: Pubkey,
    newest: int,
    before: Signature | None,
    until: Signature | None,
    limit: int,
    *,
    again: bool,
) -> list[Landed]:
    """A page in which every slot's transactions stand in another order than they ran in."""
    ordered: list[Landed] = []
    for slot, group in groupby(node.chain.history.of(address, newest), key=lambda landed: landed.slot):
        mixed = list(group)
        (_shuffles if again else random.Random(f"{node.faults.seed} {slot}")).shuffle(mixed)
        ordered += mixed
    ordered.reverse()
    places = {landed.signature: place for place, landed in enumerate(ordered)}
    start, end = 0, len(ordered)
    if before is not None:
        if before not in places:
            return []
        start = places[before] + 1
    if until is not None and until in places:
        end = places[until]
    return ordered[start:end][:limit]


@method("getSignatureStatuses")
def get_signature_statuses(node: Node, params: Params) -> Any:
    signatures = [as_signature(text) for text in params.texts(0, _MOST_STATUSES)]
    slot = node.slot(Commitment.PROCESSED)
    search = params.config(1).flag("searchTransactionHistory")
    return node.in_context(slot, [_status(node, signature, slot, search) for signature in signatures])


def _status(node: Node, signature: Signature, newest: int, search: bool) -> Any:
    landed = node.chain.history.get(signature)
    if landed is None or landed.slot > newest or (not search and landed.slot < newest - BLOCKHASH_BLOCKS):
        return None
    level = Commitment.PROCESSED
    for commitment in (Commitment.CONFIRMED, Commitment.FINALIZED):
        if landed.slot <= node.slot(commitment):
            level = commitment
    err = shown_err(node, landed)
    confirmations = len(node.chain.blocks.between(landed.slot + 1, newest))
    return {
        "slot": landed.slot,
        "confirmations": None if level is Commitment.FINALIZED else confirmations,
        "err": err,
        "status": {"Ok": None} if err is None else {"Err": err},
        "confirmationStatus": level.value,
    }
