"""Refusals that tell what would have been right."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec


def with_choices(message: str, kind: Any) -> str:
    """msgspec's refusal of a word where ``kind`` takes one of a few, with those few; other messages as they are."""
    if not message.startswith("Invalid enum value"):
        return message
    words = _words(kind)
    return f"{message}; one of {', '.join(words)}" if words else message


@lru_cache(maxsize=256)
def _words(kind: Any) -> tuple[str, ...]:
    """The words of the first enum or Literal in a type, empty without one; the empty word is left out."""
    pending = [msgspec.inspect.type_info(kind)]
    while pending:
        info = pending.pop(0)
        if isinstance(info, msgspec.inspect.EnumType):
            return tuple(str(one.value) for one in info.cls)
        if isinstance(info, msgspec.inspect.LiteralType):
            return tuple(str(one) for one in info.values if one != "")
        for name in ("type", "item_type", "value_type"):
            inner = getattr(info, name, None)
            if isinstance(inner, msgspec.inspect.Type):
                pending.append(inner)
        if isinstance(info, msgspec.inspect.UnionType):
            pending += info.types
    return ()
