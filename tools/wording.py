"""Refusals that tell what would have been right, at whatever depth of the input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.inspect import EnumType, LiteralType, Metadata, StructType, Type, UnionType

_STEP = re.compile(r"[^.\[\]]+")


def with_choices(message: str, kind: Any, path: str = "") -> str:
    """msgspec's refusal of a word at ``path`` within a ``kind``, with the few words that go there.

    ``path``: as msgspec tells it, such as ``tasks[0].job.type``; empty for the value itself. Other messages, and words
    of which any will do, come back as they are.
    """
    if not message.startswith("Invalid enum value"):
        return message
    words = _words(kind, path)
    return f"{message}; one of {', '.join(words)}" if words else message


def fields_at(kind: Any, path: str = "") -> tuple[str, ...]:
    """The names of the fields of the object at ``path`` within a ``kind``; empty where there is none."""
    structs = (one for one in _types_at(kind, path) if isinstance(one, StructType))
    return tuple(dict.fromkeys(field.encode_name for one in structs for field in one.fields))


@lru_cache(maxsize=256)
def _words(kind: Any, path: str) -> tuple[str, ...]:
    """The words of the enums and Literals at a path or in the lists there; the empty word is left out."""
    for one in _with_items(_types_at(kind, path)):
        if isinstance(one, EnumType):
            return tuple(str(word.value) for word in one.cls)
        if isinstance(one, LiteralType):
            return tuple(str(word) for word in one.values if word != "")
    return ()


def _types_at(kind: Any, path: str) -> list[Type]:
    found = list(_flat([msgspec.inspect.type_info(kind)]))
    for step in _STEP.findall(path):
        found = list(_flat(inner for one in found for inner in _inside(one, step)))
    return found


def _inside(one: Type, step: str) -> list[Type]:
    """What may be at a field's name, or at any place of a list or a map."""
    if isinstance(one, StructType):
        return [field.type for field in one.fields if field.encode_name == step]
    return _items(one)


def _items(one: Type) -> list[Type]:
    inner = getattr(one, "item_type", None) or getattr(one, "value_type", None)
    return [inner] if isinstance(inner, Type) else []


def _with_items(found: list[Type]) -> Iterator[Type]:
    for one in found:
        yield one
        yield from _with_items(list(_flat(_items(one))))


def _flat(types: Iterable[Type]) -> Iterator[Type]:
    """The choices of unions, and what is behind annotations."""
    for one in types:
        if isinstance(one, UnionType):
            yield from _flat(one.types)
        elif isinstance(one, Metadata):
            yield from _flat([one.type])
        else:
            yield one
