"""Transactions in the encodings that getTransaction and getBlock answer in."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
from solders.instruction import CompiledInstruction
from solders.message import MessageV0
from solders.transaction import VersionedTransaction

from app.chain.base58 import decode as from_base58
from app.chain.devchain import base58
from app.chain.devchain.errors import invalid_params, unsupported_version
from app.chain.devchain.message import is_written
from app.chain.devchain.parsed import parse_instruction
from app.chain.devchain.records import Landed, encode_json

ENCODINGS = ("json", "jsonParsed", "base64", "base58")
DETAILS = ("full", "accounts", "signatures", "none")


def check_version(version: int, newest: int | None) -> None:
    """Raises RpcError for a transaction of a version that the client did not say it understands."""
    if version >= 0 and (newest is None or newest < version):
        raise unsupported_version(version)


def with_meta(landed: Landed, encoding: str, newest: int | None, meta: bytes, version: int) -> bytes:
    """``"transaction":…,"meta":…,"version":…`` in JSON, without braces. ``newest``: maxSupportedTransactionVersion;
    where the client gave none, no version is told. ``meta`` and ``version``: those to show.
    """
    check_version(version, newest)
    if encoding == "base64":
        shown = b'["%b","base64"]' % b64encode(landed.raw)
    elif encoding == "base58":
        shown = b'["%b","base58"]' % base58.encode(landed.raw).encode()
    elif encoding == "json":
        shown = encode_json(_json(VersionedTransaction.from_bytes(landed.raw)))
    elif encoding == "jsonParsed":
        shown, meta = _parsed(landed, meta)
    else:
        raise invalid_params(f"unknown encoding: {encoding}")
    return b'"transaction":%b,"meta":%b%b' % (shown, meta, _version(newest, version))


def with_accounts(landed: Landed, newest: int | None, meta: bytes, version: int) -> bytes:
    """The same for a block's transactionDetails "accounts": keys and balances only."""
    check_version(version, newest)
    parsed = VersionedTransaction.from_bytes(landed.raw)
    full = msgspec.json.decode(meta)
    kept = ("err", "status", "fee", "preBalances", "postBalances", "preTokenBalances", "postTokenBalances")
    shown = {
        "signatures": [str(signature) for signature in parsed.signatures],
        "accountKeys": _account_keys(parsed, full["loadedAddresses"]),
    }
    slim = {name: full[name] for name in kept}
    return b'"transaction":%b,"meta":%b%b' % (encode_json(shown), encode_json(slim), _version(newest, version))


def _version(newest: int | None, version: int) -> bytes:
    if newest is None:
        return b""
    return b',"version":"legacy"' if version < 0 else b',"version":%d' % version


def _json(parsed: VersionedTransaction) -> dict[str, Any]:
    message = parsed.message
    header = message.header
    body: dict[str, Any] = {
        "header": {
            "numRequiredSignatures": header.num_required_signatures,
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
        },
        "accountKeys": [str(key) for key in message.account_keys],
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": [
            {
                "programIdIndex": one.program_id_index,
                "accounts": list(one.accounts),
                "data": base58.encode(one.data),
                "stackHeight": 1,
            }
            for one in message.instructions
        ],
    }
    if isinstance(message, MessageV0):
        body["addressTableLookups"] = _lookups(message)
    return {"signatures": [str(signature) for signature in parsed.signatures], "message": body}


def _lookups(message: MessageV0) -> list[dict[str, Any]]:
    return [
        {
            "accountKey": str(lookup.account_key),
            "writableIndexes": list(lookup.writable_indexes),
            "readonlyIndexes": list(lookup.readonly_indexes),
        }
        for lookup in message.address_table_lookups
    ]


def _parsed(landed: Landed, meta: bytes) -> tuple[bytes, bytes]:
    parsed = VersionedTransaction.from_bytes(landed.raw)
    message = parsed.message
    shown_meta = msgspec.json.decode(meta)
    accounts = _account_keys(parsed, shown_meta.get("loadedAddresses") or {"writable": [], "readonly": []})
    keys = [account["pubkey"] for account in accounts]
    body: dict[str, Any] = {
        "accountKeys": accounts,
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": [_instruction(one, keys) for one in message.instructions],
    }
    if isinstance(message, MessageV0):
        body["addressTableLookups"] = _lookups(message)
    for group in shown_meta.get("innerInstructions") or ():
        group["instructions"] = [
            parse_instruction(
                keys[one["programIdIndex"]],
                [keys[index] for index in one["accounts"]],
                from_base58(one["data"]),
                one["stackHeight"],
            )
            for one in group["instructions"]
        ]
    shown_meta.pop("loadedAddresses", None)
    shown = {"signatures": [str(signature) for signature in parsed.signatures], "message": body}
    return encode_json(shown), encode_json(shown_meta)


def _instruction(one: CompiledInstruction, keys: list[str]) -> dict[str, Any]:
    return parse_instruction(keys[one.program_id_index], [keys[index] for index in one.accounts], one.data, 1)


def _account_keys(parsed: VersionedTransaction, loaded: dict[str, list[str]]) -> list[dict[str, Any]]:
    message = parsed.message
    signed = message.header.num_required_signatures
    found = [
        {"pubkey": str(key), "writable": is_written(parsed, index), "signer": index < signed, "source": "transaction"}
        for index, key in enumerate(message.account_keys)
    ]
    for kind in ("writable", "readonly"):
        found += [
            {"pubkey": key, "writable": kind == "writable", "signer": False, "source": "lookupTable"}
            for key in loaded[kind]
        ]
    return found
