"""From what a file or the environment says to a value of the right type and range, or a clear refusal."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import inspect as kinds

from app.settings.given import Given, SettingsError, decoded, members, suggestion

MAX_TEXT = 4096
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_SCHEMES_WITHOUT_HOST = frozenset({"postgresql", "postgres", "unix"})


def coerce(kind: kinds.Type, given: Given, extra: Mapping[str, Any] | None = None) -> Any:
    """The value as ``kind``, a type as msgspec.inspect has it; raises SettingsError on anything else."""
    match kind:
        case kinds.Metadata():
            return coerce(kind.type, given, kind.extra)
        case kinds.IntType() | kinds.FloatType():
            return _number(kind, given)
        case kinds.BoolType():
            return _flag(given)
        case kinds.StrType():
            return _text(kind, given, (extra or {}).get("schemes", ()))
        case kinds.LiteralType():
            return _choice(kind, given, (extra or {}).get("aliases", {}))
        case kinds.ListType():
            return _list(kind, given)
        case kinds.StructType():
            return _struct(kind, given)
    raise TypeError(f"settings cannot hold {kind}")


def _number(kind: kinds.IntType | kinds.FloatType, given: Given) -> float:
    whole = isinstance(kind, kinds.IntType)
    low = f"above {_figure(kind.gt)} and up" if kind.ge is None else f"from {_figure(kind.ge)}"
    allowed = f"a {'whole ' if whole else ''}number {low} to {_figure(kind.le)}"
    value = given.value
    if given.textual:
        if not (_WHOLE if whole else _DECIMAL).fullmatch(value):
            given.refuse(allowed)
        value = int(value) if whole else float(value)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        given.refuse(allowed, but="one with a fraction" if isinstance(value, float) else "")
    above = value > kind.gt if kind.ge is None and kind.gt is not None else value >= (kind.ge or 0)
    # Every comparison with NaN is false, so that it is refused here too.
    if not above or not value <= (math.inf if kind.le is None else kind.le) or value == math.inf:
        given.refuse(allowed, but=_figure(value))
    return value if whole else float(value)


def _figure(number: Any) -> str:
    if isinstance(number, int):
        return str(number) if abs(number) < 10**18 else "a larger one"
    return f"{number:.15g}"


def _flag(given: Given) -> bool:
    value = given.value
    if given.textual and value.lower() in _TRUE | _FALSE:
        value = value.lower() in _TRUE
    if not isinstance(value, bool):
        given.refuse("true or false")
    return value


def _text(kind: kinds.StrType, given: Given, schemes: tuple[str, ...]) -> str:
    value = given.value
    if not isinstance(value, str):
        given.refuse("text")
    if not value.isprintable():
        given.refuse("printable text on one line", but="text with control characters or bytes that are not UTF-8")
    low, high = kind.min_length or 0, kind.max_length or MAX_TEXT
    if not low <= len(value) <= high:
        given.refuse(f"text of {low} to {high} characters", but=f"of {len(value)}" if value else "")
    if schemes and value:
        _check_url(given, schemes)
    return value


def _check_url(given: Given, schemes: tuple[str, ...]) -> None:
    scheme, separator, rest = given.value.partition("://")
    allowed = "a URL that begins with " + " or ".join(f"{each}://" for each in schemes)
    if not separator or scheme not in schemes or " " in rest:
        given.refuse(allowed, but="other text")
    if scheme in _SCHEMES_WITHOUT_HOST:
        return
    try:
        parts = urlsplit(given.value)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        given.refuse(f"{allowed} and names a host, with a port up to 65535 if any", but="this one")


def _choice(kind: kinds.LiteralType, given: Given, aliases: Mapping[str, str]) -> str:
    allowed = "one of " + ", ".join(map(str, kind.values))
    if not isinstance(given.value, str):
        given.refuse(allowed)
    value = aliases.get(given.value.lower(), given.value.lower())
    if value not in kind.values:
        given.refuse(allowed, but="other text" + suggestion(value, map(str, kind.values)))
    return value


def _list(kind: kinds.ListType, given: Given) -> list[Any]:
    if given.textual:
        given = decoded(given, "a JSON list")
    if not isinstance(given.value, list):
        given.refuse("a list")
    return [coerce(kind.item_type, Given(item, f"{given.where}[{n}]")) for n, item in enumerate(given.value)]


def _struct(kind: kinds.StructType, given: Given) -> Any:
    fields = {each.name: each for each in kind.fields}
    found = members(given, fields)
    missing = [name for name, each in fields.items() if each.required and name not in found]
    if missing:
        raise SettingsError(f"{given.where}: {missing[0]} is missing")
    return kind.cls(**{name: coerce(fields[name].type, member) for name, member in found.items()})


def check_network(given: Given) -> None:
    """Raise SettingsError unless the text is a network in CIDR notation."""
    try:
        ipaddress.ip_network(given.value, strict=True)
    except ValueError:
        given.refuse("a network such as 10.0.0.0/8, with no bit set past the prefix", but="other text")
