"""The shapes of what a program writes, as its IDL gives them: types without parameters, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

SIZES = {
    "bool": 1,
    **{f"{sign}{8 * size}": size for sign in "ui" for size in (1, 2, 4, 8, 16, 32)},
    "f32": 4,
    "f64": 8,
    "pubkey": 32,
}
"""Bytes of the primitives that always have the same."""
PRIMITIVES = frozenset({*SIZES, "string", "bytes"})


@dataclass(frozen=True, slots=True)
class Primitive:
    name: str


@dataclass(frozen=True, slots=True)
class Option:
    """``wide``: a COption: four bytes of tag, and room for the value also where there is none."""

    inner: Type
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Vec:
    """Also sets, which Borsh writes alike, and maps: a vec of pairs."""

    inner: Type


@dataclass(frozen=True, slots=True)
class Array:
    inner: Type
    length: int


@dataclass(frozen=True, slots=True)
class Struct:
    """``names`` is None for fields by position."""

    names: tuple[str, ...] | None
    types: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class Enum:
    variants: tuple[tuple[str, Struct], ...]


@dataclass(frozen=True, slots=True)
class Defined:
    """A key of ``Idl.types``: the name, with its arguments if it is generic."""

    key: str


Type: TypeAlias = Primitive | Option | Vec | Array | Struct | Enum | Defined


@dataclass(frozen=True, slots=True)
class Item:
    """An event, an account or an instruction. ``accounts``: names of an instruction's, nested ones flattened."""

    name: str
    discriminator: bytes
    type: Type
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Idl:
    """``address``: "" where the document has none."""

    name: str
    address: str
    types: Mapping[str, Type]
    events: tuple[Item, ...]
    accounts: tuple[Item, ...]
    instructions: tuple[Item, ...]
