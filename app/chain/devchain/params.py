"""Reading of JSON-RPC parameters: every wrong one is error -32602, worded as a node does."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from solders.hash import Hash, ParseHashError
from solders.pubkey import Pubkey
from solders.signature import Signature

from app.chain.base58 import decode as from_base58
from app.chain.devchain.blocks import Commitment
from app.chain.devchain.errors import RpcError, invalid_params
from app.chain.devchain.message import MalformedTransaction
from app.chain.devchain.message import parse as parse_transaction

MAX_U64 = 2**64 - 1
# What a packet's 1,232 bytes make in either encoding.
_LONGEST = {"base58": 1683, "base64": 1644}


class Params:
    """Positional parameters of one call."""

    def __init__(self, given: Any) -> None:
        if given is None:
            given = []
        if not isinstance(given, list):
            raise invalid_params("Invalid params: expected an array")
        self.given: list[Any] = given

    def __len__(self) -> int:
        return len(self.given)

    def at(self, index: int) -> Any:
        """The parameter, None when absent."""
        return self.given[index] if index < len(self.given) else None

    def text(self, index: int) -> str:
        value = self._required(index)
        if not isinstance(value, str):
            raise _wrong(value, "a string")
        return value

    def integer(self, index: int) -> int:
        return as_integer(self._required(index))

    def pubkey(self, index: int) -> Pubkey:
        return as_pubkey(self.text(index))

    def signature(self, index: int) -> Signature:
        return as_signature(self.text(index))

    def texts(self, index: int, most: int) -> list[str]:
        value = self._required(index)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise _wrong(value, "a list of strings")
        if len(value) > most:
            raise invalid_params(f"Too many inputs provided; max {most}")
        return value

    def config(self, index: int) -> Config:
        """The options object, empty when absent."""
        value = self.at(index)
        if value is None:
            return Config({})
        if not isinstance(value, dict):
            raise _wrong(value, "an object")
        return Config(value)

    def _required(self, index: int) -> Any:
        if index >= len(self.given):
            raise invalid_params(f"`params` should have at least {index + 1} argument(s)")
        return self.given[index]


class Config:
    """The options object of a call."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given

    def get(self, name: str) -> Any:
        return self.given.get(name)

    def commitment(self, default: Commitment = Commitment.FINALIZED) -> Commitment:
        value = self.given.get("commitment")
        if value is None:
            return default
        if not isinstance(value, str):
            raise _wrong(value, "a commitment level")
        # Older names that clients still send.
        value = {"recent": "processed", "single": "confirmed", "singleGossip": "confirmed"}.get(value, value)
        value = {"root": "finalized", "max": "finalized"}.get(value, value)
        try:
            return Commitment(value)
        except ValueError as error:
            raise invalid_params(f"Invalid params: unknown variant `{value}`, expected a commitment level") from error

    def encoding(self, default: str, *allowed: str) -> str:
        value = self.given.get("encoding")
        if value is None:
            return default
        if value not in allowed:
            raise invalid_params(f"Invalid params: unknown variant `{value}`, expected one of {', '.join(allowed)}.")
        encoding: str = value
        return encoding

    def integer(self, name: str, default: int | None = None) -> int | None:
        value = self.given.get(name)
        return default if value is None else as_integer(value)

    def flag(self, name: str) -> bool:
        value = self.given.get(name)
        if value is not None and not isinstance(value, bool):
            raise _wrong(value, "a boolean")
        return bool(value)

    def signature(self, name: str) -> Signature | None:
        value = self.given.get(name)
        return None if value is None else as_signature(value)


def as_integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_U64:
        raise _wrong(value, "u64")
    return value


def as_pubkey(text: Any) -> Pubkey:
    if not isinstance(text, str):
        raise _wrong(text, "a string")
    try:
        return Pubkey.from_string(text)
    except ValueError as error:
        raise _not_bytes(text) from error


def as_signature(text: Any) -> Signature:
    if not isinstance(text, str):
        raise _wrong(text, "a string")
    try:
        return Signature.from_string(text)
    except ValueError as error:
        raise _not_bytes(text) from error


def as_hash(text: Any) -> Hash:
    if not isinstance(text, str):
        raise _wrong(text, "a string")
    try:
        return Hash.from_string(text)
    except ParseHashError as error:
        raise _not_bytes(text) from error


def transaction_bytes(text: str, encoding: str) -> bytes:
    """The wire transaction in ``text``; its size is held against the packet."""
    kind = "solana_transaction::versioned::VersionedTransaction"
    longest = _LONGEST[encoding]
    if len(text) > longest:
        raise invalid_params(
            f"{encoding} encoded {kind} too large: {len(text)} bytes (max: encoded/raw {longest}/1232)"
        )
    try:
        raw = from_base58(text) if encoding == "base58" else b64decode(text, validate=True)
    except ValueError as error:
        raise invalid_params(f"invalid {encoding} encoding: {error}") from error
    if len(raw) > 1232:
        raise invalid_params(f"decoded {kind} too large: {len(raw)} bytes (max: 1232 bytes)")
    try:
        parse_transaction(raw)
    except MalformedTransaction as error:
        raise invalid_params(f"failed to deserialize {kind}: {error}") from error
    return raw


def _not_bytes(text: str) -> RpcError:
    try:
        from_base58(text)
    except ValueError:
        return invalid_params("Invalid param: Invalid")
    return invalid_params("Invalid param: WrongSize")


def _wrong(value: Any, wanted: str) -> RpcError:
    kind = {bool: "boolean", int: "integer", float: "floating point", str: "string", list: "sequence", dict: "map"}
    return invalid_params(f"Invalid params: invalid type: {kind.get(type(value), 'null')}, expected {wanted}.")
