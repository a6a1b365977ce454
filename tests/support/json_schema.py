"""The part of JSON Schema 2020-12 that tool schemas use, to hold values against them."""

from __future__ import annotations

import re
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_NOTES = {"title", "description", "default", "examples", "type"}


def faults(value: Any, schema: dict[str, Any], path: str = "$") -> list[str]:
    """What is wrong with ``value``; raises KeyError on a keyword this check does not know."""
    found: list[str] = []
    kind = schema.get("type")
    if kind is not None:
        right = isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
        if not right:
            return [f"{path}: no {kind}"]
    for keyword, limit in schema.items():
        if keyword not in _NOTES:
            found += _CHECKS[keyword](value, limit, schema, path)
    return found


def _when(wrong: bool, path: str, keyword: str) -> list[str]:
    return [f"{path}: {keyword}"] if wrong else []


def _properties(value: Any, known: dict[str, Any], schema: dict[str, Any], path: str) -> list[str]:
    return [
        fault for name, item in value.items() if name in known for fault in faults(item, known[name], f"{path}.{name}")
    ]


def _additional(value: Any, rule: Any, schema: dict[str, Any], path: str) -> list[str]:
    others = {name: item for name, item in value.items() if name not in schema.get("properties", {})}
    if rule is False:
        return [f"{path}: unknown {name}" for name in others]
    return [fault for name, item in others.items() for fault in faults(item, rule, f"{path}.{name}")]


_CHECKS: dict[str, Any] = {
    "properties": _properties,
    "additionalProperties": _additional,
    "required": lambda v, r, s, p: [f"{p}: {name} is missing" for name in r if name not in v],
    "items": lambda v, r, s, p: [fault for n, item in enumerate(v) for fault in faults(item, r, f"{p}[{n}]")],
    "enum": lambda v, r, s, p: _when(v not in r, p, "enum"),
    "minimum": lambda v, r, s, p: _when(v < r, p, "minimum"),
    "maximum": lambda v, r, s, p: _when(v > r, p, "maximum"),
    "minLength": lambda v, r, s, p: _when(len(v) < r, p, "minLength"),
    "maxLength": lambda v, r, s, p: _when(len(v) > r, p, "maxLength"),
    "minItems": lambda v, r, s, p: _when(len(v) < r, p, "minItems"),
    "maxItems": lambda v, r, s, p: _when(len(v) > r, p, "maxItems"),
    "pattern": lambda v, r, s, p: _when(re.search(r, v) is None, p, "pattern"),
}
