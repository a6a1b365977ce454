"""Borsh by its specification, for the other direction: what the engine only reads, tests must write."""

from __future__ import annotations

from struct import pack
from typing import Any

from solders.pubkey import Pubkey

from app.chain.shapes import SIZES, Array, Defined, Enum, Idl, Item, Option, Primitive, Struct, Type, Vec


def encode(idl: Idl, type_: Type, value: Any) -> bytes:
    """``value``, in the form that the decoder gives, as ``type_``."""
    match type_:
        case Primitive(name):
            return _primitive(name, value)
        case Defined(key):
            return encode(idl, idl.types[key], value)
        case Option(inner, wide):
            if wide:
                body = encode(idl, inner, value) if value is not None else bytes(_size(idl, inner))
                return pack("<I", value is not None) + body
            return b"\0" if value is None else b"\1" + encode(idl, inner, value)
        case Vec(inner):
            return pack("<I", len(value)) + b"".join(encode(idl, inner, one) for one in value)
        case Array(inner, length):
            assert len(value) == length
            return b"".join(encode(idl, inner, one) for one in value)
        case Struct(names, types):
            parts = value if names is None else [value[name] for name in names]
            return b"".join(encode(idl, one, part) for one, part in zip(types, parts, strict=True))
        case Enum(variants):
            ((name, fields),) = value.items()
            index = [variant for variant, _ in variants].index(name)
            return bytes([index]) + encode(idl, variants[index][1], fields)


def encode_item(idl: Idl, item: Item, value: Any) -> bytes:
    """An event, an account or an instruction: behind its discriminator."""
    return item.discriminator + encode(idl, item.type, value)


def named(items: tuple[Item, ...], name: str) -> Item:
    return next(one for one in items if one.name == name)


def _primitive(name: str, value: Any) -> bytes:
    if name == "bool":
        return bytes([value])
    if name == "pubkey":
        return bytes(Pubkey.from_string(value))
    if name in ("f32", "f64"):
        return pack("<f" if name == "f32" else "<d", value)
    if name in SIZES:
        return int(value).to_bytes(SIZES[name], "little", signed=name[0] == "i")
    raw = value.encode() if name == "string" else value
    return pack("<I", len(raw)) + bytes(raw)


def _size(idl: Idl, type_: Type) -> int:
    match type_:
        case Primitive(name):
            return SIZES[name]
        case Array(inner, length):
            return length * _size(idl, inner)
        case Struct(_, types):
            return sum(_size(idl, one) for one in types)
        case Defined(key):
            return _size(idl, idl.types[key])
        case _:
            raise TypeError(f"{type_} has no size of its own")
