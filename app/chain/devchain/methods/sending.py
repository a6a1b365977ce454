"""Methods that send transactions or try them out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from app.chain.base58 import decode as from_base58
from app.chain.devchain.bank import Simulated
from app.chain.devchain.chain import Rejected
from app.chain.devchain.config import BLOCKHASH_BLOCKS
from app.chain.devchain.errors import (
    PREFLIGHT_FAILURE,
    SIGNATURE_VERIFICATION_FAILURE,
    RpcError,
    behind,
    explain,
    invalid_params,
)
from app.chain.devchain.faults import Kind
from app.chain.devchain.message import keys_of
from app.chain.devchain.methods.accounts import account_value, reader
from app.chain.devchain.node import Node, method
from app.chain.devchain.params import Config, Params, as_pubkey, transaction_bytes
from app.chain.devchain.parsed import parse_instruction
from app.chain.devchain.records import inner_instructions, return_data


@method("requestAirdrop")
def request_airdrop(node: Node, params: Params) -> Any:
    key, lamports = params.pubkey(0), params.integer(1)
    return _take(node, node.chain.airdrop_transaction(key, lamports))


@method("sendTransaction")
def send_transaction(node: Node, params: Params) -> Any:
    config = params.config(1)
    raw = transaction_bytes(params.text(0), config.encoding("base58", "base58", "base64"))
    transaction = node.chain.parse(raw)
    preflight = {**config.given, "commitment": config.get("preflightCommitment")}
    node.view(Config(preflight))
    if not config.flag("skipPreflight"):
        _preflight(node, transaction)
    return _take(node, transaction)


def _preflight(node: Node, transaction: VersionedTransaction) -> None:
    err = node.chain.check(transaction)
    if err == "SignatureFailure":
        raise RpcError(SIGNATURE_VERIFICATION_FAILURE, "Transaction signature verification failure")
    if node.lag:
        raise behind(node.lag)
    tried = None if err is not None else node.chain.simulate(transaction)
    if tried is not None:
        err = tried.err
    if err is not None:
        answer = _simulation(err, tried)
        raise RpcError(PREFLIGHT_FAILURE, f"Transaction simulation failed: {explain(err)}", answer)


def _take(node: Node, transaction: VersionedTransaction) -> str:
    """Land the transaction. What cannot land is lost without a word, as on a network."""
    signature = str(transaction.signatures[0])
    if node.faults:
        if node.faults.strike(Kind.LOSE_TRANSACTION, method="sendTransaction", signature=signature):
            return signature
        fault = node.faults.strike(Kind.DELAY_TRANSACTION, method="sendTransaction", signature=signature)
        if fault is not None:
            node.chain.send_later(transaction, 2 if fault.value is None else int(fault.value))
            return signature
    with suppress(Rejected):
        node.chain.send(transaction)
    return signature


@method("simulateTransaction")
def simulate_transaction(node: Node, params: Params) -> Any:
    config = params.config(1)
    raw = transaction_bytes(params.text(0), config.encoding("base58", "base58", "base64"))
    replace, verify = config.flag("replaceRecentBlockhash"), config.flag("sigVerify")
    if replace and verify:
        raise invalid_params("sigVerify may not be used with replaceRecentBlockhash")
    transaction = node.chain.parse(raw)
    slot = node.view(config)
    err = node.chain.check(transaction, verify=verify)
    if err == "SignatureFailure":
        raise RpcError(SIGNATURE_VERIFICATION_FAILURE, "Transaction signature verification failure")
    if replace and err == "BlockhashNotFound":
        err = None
    tried = None if err is not None else node.chain.simulate(transaction)
    answer = _simulation(err if tried is None else tried.err, tried)
    if config.flag("innerInstructions") and tried is not None:
        answer["innerInstructions"] = _inner(node, transaction, tried)
    if config.get("accounts") is not None:
        answer["accounts"] = _accounts(node, slot, config.get("accounts"), tried)
    if replace:
        block = node.chain.blocks.last
        answer["replacementBlockhash"] = {
            "blockhash": str(block.blockhash),
            "lastValidBlockHeight": block.height + BLOCKHASH_BLOCKS,
        }
    return node.in_context(slot, answer)


def _simulation(err: Any, tried: Simulated | None) -> dict[str, Any]:
    """RpcSimulateTransactionResult. ``tried``: None when it was refused before it ran."""
    return {
        "err": err,
        "logs": [] if tried is None else tried.done.logs(),
        "accounts": None,
        "unitsConsumed": 0 if tried is None else tried.done.compute_units_consumed(),
        "loadedAccountsDataSize": 0,
        "returnData": None if tried is None else return_data(tried.done),
        "innerInstructions": None,
        "replacementBlockhash": None,
    }


def _inner(node: Node, transaction: VersionedTransaction, tried: Simulated) -> list[dict[str, Any]]:
    keys = [str(key) for key in keys_of(transaction, node.chain.bank.svm.get_account).all]
    groups = inner_instructions(tried.done)
    for group in groups:
        group["instructions"] = [
            parse_instruction(
                keys[one["programIdIndex"]],
                [keys[at] for at in one["accounts"]],
                from_base58(one["data"]),
                one["stackHeight"],
            )
            for one in group["instructions"]
        ]
    return groups


def _accounts(node: Node, slot: int, wanted: Any, tried: Simulated | None) -> list[Any]:
    if not isinstance(wanted, dict) or not isinstance(wanted.get("addresses"), list):
        raise invalid_params("Invalid params: accounts needs addresses")
    config = Config({"encoding": wanted.get("encoding")})
    if wanted.get("encoding") in ("binary", "base58"):
        raise invalid_params("base58 encoding not supported")
    keys = [as_pubkey(text) for text in wanted["addresses"]]
    if tried is None or tried.err is not None:
        return [None] * len(keys)
    before = reader(node, slot)
    read: Callable[[Pubkey], Account | None] = lambda key: tried.accounts.get(key) or before(key)  # noqa: E731
    return [account_value(read(key), config, read, "base64") for key in keys]
