"""Messages of the protocol from JSON and to it."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]

Wire = TypeVar("Wire")

_EXACT: Final = 2**53


def from_json(told: dict[str, Any], message: Wire) -> Wire:
    """``message`` with all that ``told`` says, names as in the protocol's JSON."""
    filled: Wire = ParseDict(told, message)
    return filled


def to_json(message: Any) -> Any:
    """The message as JSON. Its numbers are doubles: whole ones come out as integers, as they were written."""
    return _whole(MessageToDict(message))


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value
