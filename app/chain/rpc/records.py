"""What the answers hold, as plain records, and the readers that make them of JSON.

A reader raises ValueError (msgspec.ValidationError is one) when the JSON as a whole is not what the method promises.
No error variant is ever parsed: a transaction failed when its ``err`` is not null.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec
from solders.signature import Signature

Confirmation = Literal["processed", "confirmed", "finalized"]


@dataclass(frozen=True, slots=True)
class SignatureInfo:
    """A transaction that mentions an address. ``block_time``: Unix seconds, None when the node does not know.

    ``malformed``: what could not be read, "" for nothing; then ``signature`` may be "" and ``slot`` -1, and the entry
    must not serve as a cursor.
    """

    signature: str
    slot: int
    failed: bool
    block_time: int | None
    malformed: str = ""


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """``owner``: the program, base58. ``lamports``: 1e-9 SOL."""

    owner: str
    lamports: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Status:
    """Where a transaction has got to."""

    slot: int
    confirmation: Confirmation
    failed: bool


def signatures(result: Any) -> list[SignatureInfo]:
    """getSignaturesForAddress. One bad entry costs that entry, not the page."""
    if not isinstance(result, list):
        raise ValueError("not a list")
    return [_signature(entry) for entry in result]


def _signature(entry: Any) -> SignatureInfo:
    if not isinstance(entry, dict):
        return SignatureInfo("", -1, False, None, "not an object")
    signature, slot, block_time = (entry.get(name) for name in ("signature", "slot", "blockTime"))
    readable = {"signature": is_signature(signature), "slot": _is_slot(slot), "err": "err" in entry}
    return SignatureInfo(
        cast("str", signature) if readable["signature"] else "",
        cast("int", slot) if readable["slot"] else -1,
        entry.get("err") is not None,
        # Nothing depends on it.
        block_time if type(block_time) is int else None,
        ", ".join(name for name, well in readable.items() if not well),
    )


def is_signature(text: Any) -> bool:
    """Whether it is 64 bytes in base58."""
    try:
        Signature.from_string(text)
    except (ValueError, TypeError):
        return False
    return True


def _is_slot(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


class _Account(msgspec.Struct):
    owner: str
    lamports: int
    data: tuple[str, Literal["base64"]]


class _Accounts(msgspec.Struct):
    value: list[_Account | None]


def accounts(result: Any, count: int) -> list[AccountInfo | None]:
    """getMultipleAccounts in base64: one per address asked for, None where there is no account."""
    found = msgspec.convert(result, _Accounts).value
    if len(found) != count:
        raise ValueError("another number of accounts than asked for")
    return [
        AccountInfo(each.owner, each.lamports, b64decode(each.data[0], validate=True)) if each else None
        for each in found
    ]


class _Status(msgspec.Struct):
    slot: int
    confirmations: int | None = None
    confirmationStatus: str | None = None  # noqa: N815
    err: Any = None


class _Statuses(msgspec.Struct):
    value: list[_Status | None]


def statuses(result: Any, count: int) -> list[Status | None]:
    """getSignatureStatuses: one per signature asked for, None where the node knows of none."""
    found = msgspec.convert(result, _Statuses).value
    if len(found) != count:
        raise ValueError("another number of statuses than asked for")
    return [Status(each.slot, _confirmation(each), each.err is not None) if each else None for each in found]


def _confirmation(status: _Status) -> Confirmation:
    if status.confirmationStatus in ("processed", "confirmed", "finalized"):
        return cast("Confirmation", status.confirmationStatus)
    # Before the field existed, null confirmations meant rooted.
    return "finalized" if status.confirmations is None else "processed"


class _Blockhash(msgspec.Struct):
    blockhash: str
    lastValidBlockHeight: int  # noqa: N815


class _LatestBlockhash(msgspec.Struct):
    value: _Blockhash


def latest_blockhash(result: Any) -> tuple[str, int]:
    """getLatestBlockhash."""
    found = msgspec.convert(result, _LatestBlockhash).value
    return found.blockhash, found.lastValidBlockHeight


class _Amount(msgspec.Struct):
    amount: str


class _TokenBalance(msgspec.Struct):
    value: _Amount


def token_balance(result: Any) -> int:
    """getTokenAccountBalance: base units."""
    amount = msgspec.convert(result, _TokenBalance).value.amount
    if not amount.isascii() or not amount.isdecimal():
        raise ValueError("not an amount")
    return int(amount)


def whole(result: Any) -> int:
    """A slot or a height."""
    if not _is_slot(result):
        raise ValueError("not a whole number")
    return cast("int", result)


def whole_or_none(result: Any) -> int | None:
    """A time that the node may not know."""
    return None if result is None else whole(result)


def signature(result: Any) -> str:
    """sendTransaction."""
    if not is_signature(result):
        raise ValueError("not a signature")
    return cast("str", result)


def transaction(result: Any) -> dict[str, Any] | None:
    """getTransaction: left as it is; None where the node has none."""
    if result is not None and not isinstance(result, dict):
        raise ValueError("not a transaction")
    return result


def text(result: Any) -> str:
    """A word."""
    if not isinstance(result, str):
        raise ValueError("not text")
    return result
