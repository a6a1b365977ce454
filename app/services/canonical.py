"""One spelling for one JSON value, so that equal specs have equal hashes whoever computes them: RFC 8785 (JCS).

Keys sorted at every level, no whitespace, UTF-8, nothing escaped that need not be, floats as ECMAScript writes them.
Integers keep all their digits, which is the same for every one that JavaScript holds.
"""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal
from typing import Any

import msgspec

# Characters outside the Basic Multilingual Plane sort otherwise in UTF-16, by which the RFC goes.
_SUSPECT = re.compile(rb"[0-9][.eE]|[\xf0-\xf4]")

_sorting = msgspec.json.Encoder(order="deterministic")
_plain = msgspec.json.Encoder()


def canonical_json(value: Any) -> bytes:
    """``value`` (JSON's types only) in its one spelling."""
    encoded = sorted_json(value)
    # Without floats and rare characters, which is nearly always, msgspec's own spelling is the RFC's.
    return _plain.encode(_spelt(value)) if _SUSPECT.search(encoded) else encoded


def sorted_json(value: Any) -> bytes:
    """As canonical_json, and cheaper: for values that hold no floats, and no keys but such as a programmer chooses."""
    return _sorting.encode(value)


def content_hash(canonical: bytes) -> str:
    """sha256 in lower-case hex."""
    return hashlib.sha256(canonical).hexdigest()


def _spelt(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _spelt(value[key]) for key in sorted(value, key=lambda key: key.encode("utf-16-be"))}
    if isinstance(value, list | tuple):
        return [_spelt(item) for item in value]
    return msgspec.Raw(_number(value).encode()) if isinstance(value, float) else value


def _number(value: float) -> str:
    """As ECMA-262's Number::toString: the shortest digits that read back as ``value``, and where the point goes."""
    if value == 0:
        return "0"
    sign, figures, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    point = len(figures) + exponent
    digits = "".join(map(str, figures)).rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        text = digits + "0" * (point - count)
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        rest = f".{digits[1:]}" if count > 1 else ""
        text = f"{digits[0]}{rest}e{point - 1:+d}"
    return f"-{text}" if sign else text
