"""What no real node has: the methods that drive the chain and make trouble, all ``devchain_…``."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import msgspec
from solders.account import Account

from app.chain.devchain.chain import Rejected, TooLarge
from app.chain.devchain.errors import RpcError, invalid_params
from app.chain.devchain.faults import Kind
from app.chain.devchain.message import MalformedTransaction
from app.chain.devchain.node import Node, method
from app.chain.devchain.params import Params, as_integer, as_pubkey, as_signature

_MOST_SLOTS = 100_000
_REJECTED = -32003


@method("devchain_status")
def status(node: Node, params: Params) -> Any:
    chain = node.chain
    return {
        "slot": chain.slot,
        "confirmed": chain.slot_at("confirmed"),
        "finalized": chain.slot_at("finalized"),
        "transactions": len(chain.history),
        "programs": list(chain.config.programs),
        "faucet": str(chain.faucet.pubkey()),
        "faults": node.faults.listed(),
    }


@method("devchain_advance")
def advance(node: Node, params: Params) -> Any:
    return {"slot": node.chain.advance(_slots(params))}


@method("devchain_skipSlots")
def skip_slots(node: Node, params: Params) -> Any:
    return {"slot": node.chain.skip(_slots(params))}


@method("devchain_fork")
def fork(node: Node, params: Params) -> Any:
    config = params.config(0)
    drop, reland = config.get("drop") or [], config.get("reland")
    if not isinstance(drop, list):
        raise invalid_params("drop must be a list of signatures")
    if reland is None:
        reland = True
    if not isinstance(reland, bool):
        reland = as_integer(reland)
    depth = config.integer("depth", 1)
    assert depth is not None
    try:
        result = node.chain.fork(depth, drop=[as_signature(text) for text in drop], reland=reland)
    except ValueError as error:
        raise invalid_params(str(error)) from error
    return {
        "forkSlot": result.slot,
        "slot": node.chain.slot,
        "dropped": [str(signature) for signature in result.dropped],
        "reland": [str(signature) for signature in result.reland],
    }


@method("devchain_setAccount")
def set_account(node: Node, params: Params) -> Any:
    key, config = params.pubkey(0), params.config(1)
    data = _base64(config.get("data") or "")
    lamports = config.integer("lamports")
    if lamports is None:
        lamports = node.chain.bank.svm.minimum_balance_for_rent_exemption(len(data))
    owner = as_pubkey(config.get("owner") or "11111111111111111111111111111111")
    node.chain.set_account(key, Account(lamports, data, owner, config.flag("executable")))
    return {"slot": node.chain.slot}


@method("devchain_deployProgram")
def deploy_program(node: Node, params: Params) -> Any:
    key, elf = params.pubkey(0), params.at(1)
    try:
        node.chain.deploy(key, None if elf is None else _base64(elf))
    except ValueError as error:
        raise invalid_params(str(error)) from error
    return {"slot": node.chain.slot}


@method("devchain_load")
def load(node: Node, params: Params) -> Any:
    given, config = params.at(0), params.config(1)
    if not isinstance(given, list):
        raise invalid_params("expected a list of transactions in base64")
    per_block = config.integer("perBlock", 256)
    if not per_block:
        raise invalid_params("perBlock must be at least 1")
    transactions = (_base64(each) for each in given)
    try:
        count = node.chain.load(transactions, per_block=per_block, verify=config.flag("verify"))
    except (MalformedTransaction, TooLarge) as error:
        raise invalid_params(str(error)) from error
    except Rejected as error:
        raise RpcError(_REJECTED, "a transaction cannot land", error.err) from error
    return {"count": count, "slot": node.chain.slot}


@method("devchain_setFaults")
def set_faults(node: Node, params: Params) -> Any:
    given = params.at(0)
    for fault in given if isinstance(given, list) else [given]:
        if not isinstance(fault, dict) or "kind" not in fault:
            raise invalid_params('a fault is an object with a "kind"')
        options = {name: value for name, value in fault.items() if name != "kind"}
        try:
            node.faults.add(fault["kind"], **options)
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            raise invalid_params(f"fault {fault['kind']}: {error}") from error
    return node.faults.listed()


@method("devchain_clearFaults")
def clear_faults(node: Node, params: Params) -> Any:
    given = params.at(0) or []
    kinds = given if isinstance(given, list) else [given]
    if not all(isinstance(kind, str) for kind in kinds):
        raise invalid_params("expected kinds of faults")
    try:
        node.faults.clear([Kind(kind) for kind in kinds])
    except ValueError as error:
        raise invalid_params(str(error)) from error
    return node.faults.listed()


def _slots(params: Params) -> int:
    slots = 1 if params.at(0) is None else params.integer(0)
    if slots > _MOST_SLOTS:
        raise invalid_params(f"at most {_MOST_SLOTS} slots at once")
    return slots


def _base64(text: Any) -> bytes:
    if isinstance(text, list) and len(text) == 2 and text[1] == "base64":
        text = text[0]
    if not isinstance(text, str):
        raise invalid_params("expected data in base64")
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise invalid_params(f"invalid base64: {error}") from error
