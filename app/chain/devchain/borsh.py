"""Borsh of the structs in the network's IDLs: instruction arguments, events and accounts, there and back."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from solders.pubkey import Pubkey

_NUMBERS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "i64": "<q", "bool": "<?"}


@dataclass(frozen=True, slots=True)
class Layout:
    """A struct behind its discriminator. ``fields``: name and IDL type; enums have unit variants only and are u8."""

    discriminator: bytes
    fields: tuple[tuple[str, str], ...]

    def encode(self, values: dict[str, Any]) -> bytes:
        """Discriminator and fields. Strings may be bytes, which need be no UTF-8."""
        return self.discriminator + b"".join(_encoded(kind, values[name]) for name, kind in self.fields)

    def decode(self, data: bytes) -> dict[str, Any]:
        """The fields; what follows them is not looked at. Raises ValueError for another discriminator."""
        at = len(self.discriminator)
        if data[:at] != self.discriminator:
            raise ValueError("the discriminator is another")
        values = {}
        for name, kind in self.fields:
            values[name], at = _decoded(kind, data, at)
        return values


class _Idl(msgspec.Struct):
    instructions: list[dict[str, Any]]
    accounts: list[dict[str, Any]]
    events: list[dict[str, Any]]
    types: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Program:
    """Layouts of a program by name."""

    instructions: dict[str, Layout]
    accounts: dict[str, Layout]
    events: dict[str, Layout]


@cache
def program(name: str) -> Program:
    """The layouts of ``node_registry``, ``job_receipt`` or ``payment_splitter``."""
    text = files("app.chain").joinpath("idl", f"{name}.json").read_bytes()
    idl = msgspec.json.decode(text, type=_Idl)
    structs = {each["name"]: each["type"].get("fields", []) for each in idl.types}
    return Program(
        {each["name"]: _layout(each, each["args"]) for each in idl.instructions},
        {each["name"]: _layout(each, structs[each["name"]]) for each in idl.accounts},
        {each["name"]: _layout(each, structs[each["name"]]) for each in idl.events},
    )


def _layout(named: dict[str, Any], fields: list[dict[str, Any]]) -> Layout:
    kinds = ((field["name"], field["type"] if isinstance(field["type"], str) else "u8") for field in fields)
    return Layout(bytes(named["discriminator"]), tuple(kinds))


def _encoded(kind: str, value: Any) -> bytes:
    if kind == "string":
        data = value if isinstance(value, bytes) else value.encode()
        return struct.pack("<I", len(data)) + data
    return bytes(value) if kind == "pubkey" else struct.pack(_NUMBERS[kind], value)


def _decoded(kind: str, data: bytes, at: int) -> tuple[Any, int]:
    if kind == "string":
        (length,) = struct.unpack_from("<I", data, at)
        raw = data[at + 4 : at + 4 + length]
        try:
            return raw.decode(), at + 4 + length
        except UnicodeDecodeError:
            return raw, at + 4 + length
    if kind == "pubkey":
        return Pubkey.from_bytes(data[at : at + 32]), at + 32
    (value,) = struct.unpack_from(_NUMBERS[kind], data, at)
    return value, at + struct.calcsize(_NUMBERS[kind])
