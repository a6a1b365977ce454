"""Transactions as the RPC gives them (results of getTransaction, entries of getBlock), in any encoding and version."""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from typing import Any

from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from app.chain import base58
from app.chain.model import Instruction, TokenBalance, Transaction

LEGACY = -1
MAX_U64 = 2**64 - 1
MAX_I64 = 2**63 - 1
"""What slots and times are stored as."""
MAX_INDEX = 256
"""A transaction names its accounts, and numbers its instructions, with one byte."""


class TransactionError(ValueError):
    """Not a transaction with its metadata; one line that says why."""


def parse_transaction(
    given: Mapping[str, Any], *, slot: int | None = None, block_time: int | None = None
) -> Transaction:
    """The transaction in ``given``, encoded as json, jsonParsed, base64 or base58.

    ``slot`` and ``block_time`` are for entries of getBlock, which have none of their own. An instruction that
    jsonParsed has taken apart comes without data and accounts; it never does that to programs it does not know.
    Raises TransactionError for whatever is malformed, also for a transaction without its metadata.
    """
    try:
        return _parse(given, slot, block_time)
    except TransactionError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise TransactionError(f"malformed transaction: {type(error).__name__}: {error}") from error


def _parse(given: Mapping[str, Any], slot: int | None, block_time: int | None) -> Transaction:
    meta = given["meta"]
    if meta is None:
        raise TransactionError("the node kept no metadata of this transaction")
    body = given["transaction"]
    signature, version, static, instructions = _message(body) if isinstance(body, dict) else _decoded(body)
    accounts = _accounts(static, meta.get("loadedAddresses"), complete=isinstance(body, dict) and _parsed(body))
    logs = meta.get("logMessages")
    return Transaction(
        signature=signature,
        slot=_slot(_first(given.get("slot"), slot)),
        block_time=_time(_first(given.get("blockTime"), block_time)),
        version=_version(given["version"]) if given.get("version") is not None else version,
        error=meta["err"],
        accounts=accounts,
        instructions=tuple(_instruction(one, accounts, 1) for one in instructions),
        inner=_inner(meta.get("innerInstructions"), accounts, len(instructions)),
        logs=None if logs is None else tuple(_text(line) for line in _list(logs)),
        pre_balances=_balances(meta.get("preTokenBalances"), accounts),
        post_balances=_balances(meta.get("postTokenBalances"), accounts),
    )


_Body = tuple[str, int, Sequence[str], Sequence[Mapping[str, Any]]]
"""Signature, version, the message's own accounts, and its instructions."""


def _message(body: Mapping[str, Any]) -> _Body:
    """Of json and jsonParsed, which do not say the version inside."""
    message = body["message"]
    keys = [key["pubkey"] if isinstance(key, dict) else key for key in _list(message["accountKeys"])]
    signature = _text(_list(body["signatures"])[0])
    Signature.from_string(signature)
    version = 0 if message.get("addressTableLookups") else LEGACY
    return signature, version, [_key(key) for key in keys], _list(message["instructions"])


def _parsed(body: Mapping[str, Any]) -> bool:
    """Whether the list of accounts holds the loaded ones too, as jsonParsed has it."""
    return any(isinstance(key, dict) for key in body["message"]["accountKeys"])


def _decoded(body: Any) -> _Body:
    """Of base64 ``[text, "base64"]``, base58 likewise, and base58 as it once was: a text alone."""
    text, encoding = (body, "base58") if isinstance(body, str) else _list(body)
    if encoding == "base64":
        raw = a2b_base64(_text(text), strict_mode=True)
    elif encoding == "base58":
        raw = base58.decode(_text(text))
    else:
        raise TransactionError(f"unknown encoding {encoding!r:.40}")
    parsed = VersionedTransaction.from_bytes(raw)
    message, version = parsed.message, parsed.version()
    instructions = [
        {"programIdIndex": one.program_id_index, "accounts": list(one.accounts), "data": one.data}
        for one in message.instructions
    ]
    keys = [str(key) for key in message.account_keys]
    return str(parsed.signatures[0]), version if isinstance(version, int) else LEGACY, keys, instructions


def _accounts(static: Sequence[str], loaded: Any, *, complete: bool) -> tuple[str, ...]:
    """In the order that indexes count by: the message's own, loaded writable ones, loaded read-only ones."""
    if complete or loaded is None:
        return tuple(static)
    return (*static, *map(_key, _list(loaded["writable"])), *map(_key, _list(loaded["readonly"])))


def _inner(given: Any, accounts: Sequence[str], count: int) -> dict[int, tuple[Instruction, ...]]:
    found: dict[int, tuple[Instruction, ...]] = {}
    for group in _list(given or []):
        outer = group["index"]
        if _index(outer, count) in found:
            raise TransactionError(f"inner instructions of {outer} twice")
        found[outer] = tuple(
            _instruction(one, accounts, _height(one.get("stackHeight"))) for one in _list(group["instructions"])
        )
    return found


def _instruction(given: Mapping[str, Any], accounts: Sequence[str], height: int | None) -> Instruction:
    if "programIdIndex" in given:
        program = accounts[_index(given["programIdIndex"], len(accounts))]
        passed = [accounts[_index(one, len(accounts))] for one in _list(given["accounts"])]
    else:
        program = _key(given["programId"])
        if "parsed" in given:
            return Instruction(program, (), b"", height)
        passed = [_key(one) for one in _list(given["accounts"])]
    data = given["data"]
    return Instruction(program, tuple(passed), data if isinstance(data, bytes) else base58.decode(_text(data)), height)


def _balances(given: Any, accounts: Sequence[str]) -> tuple[TokenBalance, ...]:
    return tuple(
        TokenBalance(
            account=accounts[_index(one["accountIndex"], len(accounts))],
            mint=_key(one["mint"]),
            owner=_key(one["owner"]) if one.get("owner") else "",
            amount=_amount(one["uiTokenAmount"]["amount"]),
        )
        for one in _list(given or [])
    )


def _amount(given: Any) -> int:
    text = _text(given)
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= MAX_U64):
        raise TransactionError(f"{text!r:.40} is no amount of tokens")
    return int(text)


def _version(given: Any) -> int:
    if given == "legacy":
        return LEGACY
    return _index(given, MAX_INDEX)


def _height(given: Any) -> int | None:
    return None if given is None else _index(given, MAX_INDEX)


def _first(given: Any, other: int | None) -> Any:
    return other if given is None else given


def _slot(given: Any) -> int:
    if type(given) is not int or not 0 <= given <= MAX_I64:
        raise TransactionError(f"{given!r:.40} is no slot")
    return given


def _time(given: Any) -> int | None:
    if given is not None and (type(given) is not int or abs(given) > MAX_I64):
        raise TransactionError(f"{given!r:.40} is no block time")
    return given


def _index(given: Any, count: int) -> int:
    if type(given) is not int or not 0 <= given < count:
        raise TransactionError(f"{given!r:.40} is not within 0..{count - 1}")
    return given


def _key(given: Any) -> str:
    text = _text(given)
    Pubkey.from_string(text)
    return text


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise TransactionError(f"{given!r:.40} is not a text")
    return given


def _list(given: Any) -> list[Any] | tuple[Any, ...]:
    if not isinstance(given, list | tuple):
        raise TransactionError(f"{given!r:.40} is not a list")
    return given
