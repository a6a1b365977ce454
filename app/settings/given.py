"""A value somebody set and what it is called, the refusal of it, and the keys of objects."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

_CAMEL = re.compile(r"[a-z][A-Za-z0-9]*", re.ASCII)


class SettingsError(Exception):
    """A setting cannot be used: one line naming the variable or key and what is allowed, never a secret."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value somebody set. ``where``: what to call it. ``textual``: from the environment, not yet parsed."""

    value: Any
    where: str
    textual: bool = False

    def refuse(self, allowed: str, *, but: str = "") -> NoReturn:
        """Raise SettingsError: must be ``allowed``, not ``but`` (without it, the kind of the value)."""
        raise SettingsError(f"{self.where.rstrip(':')}: must be {allowed}, not {but or kind_of(self.value)}") from None


def kind_of(value: object) -> str:
    """What sort of value this is, in words."""
    if isinstance(value, bool):
        return "true or false"
    for kind, words in ((str, "text"), (int | float, "a number"), (list, "a list"), (dict, "an object")):
        if isinstance(value, kind):
            return words if value or not isinstance(value, str) else "empty"
    return "null" if value is None else "a date or time"


def suggestion(name: str, known: Iterable[str]) -> str:
    """``; did you mean …?`` for a near miss, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def quoted(name: str) -> str:
    """A name fit for one line of a message."""
    return name if name.isprintable() and len(name) <= 80 else f"{ascii(name)[:80]}…"


def parse_json(text: str) -> Any:
    """Strict JSON: no NaN, no key twice. Raises ValueError, also for nesting past Python's stack."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {quoted(twice)} is given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def members(given: Given, known: Iterable[str]) -> dict[str, Given]:
    """An object by its keys in snake_case (camelCase is accepted); raises SettingsError on unknown ones."""
    if given.textual:
        return members(decoded(given, "a JSON object"), known)
    if not isinstance(given.value, dict):
        given.refuse("an object")
    known = list(known)
    found: dict[str, Given] = {}
    for key, value in given.value.items():
        name = re.sub(r"(?<=[a-z0-9])[A-Z]", lambda m: f"_{m[0]}", key).lower() if _CAMEL.fullmatch(key) else key
        where = f"{given.where}{' ' if given.where.endswith(':') else '.'}{quoted(key)}"
        if name not in known:
            raise SettingsError(
                f"{where}: unknown key{suggestion(name.lower(), known) or '; known are ' + ', '.join(known)}"
            )
        if name in found:
            raise SettingsError(f"{where}: the same setting as {found[name].where}")
        found[name] = Given(value, where)
    return found


def decoded(given: Given, allowed: str) -> Given:
    """A text holding JSON as the value it stands for; raises SettingsError: must be ``allowed``."""
    try:
        return Given(parse_json(given.value), given.where)
    except ValueError:
        # The decoder's own message is left out: it may quote what stands there.
        given.refuse(allowed, but="text that is not valid JSON")
