"""References in the texts of a plan's job templates: found when the plan is submitted, filled when a unit is released.

``{{item}}``, ``{{index}}``, ``{{tasks.ID.result}}`` and ``{{tasks.ID.results}}``, each with a path of names and numbers
behind it if need be. A text that is nothing but a reference becomes its value; within a text, values other than texts
are written as JSON. ``\\{{`` stands for two braces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from app.core.errors import InvalidInput

_OPENING = re.compile(r"\\?\{\{")
_LONGEST = 200
"""Characters of a reference."""
_REFERENCE = re.compile(r"\s*(?:(item|index)|tasks\.([a-z][a-z0-9_]*)\.(results?))((?:\.[A-Za-z0-9_-]+)*)\s*", re.ASCII)
EXAMPLE = (
    "{{item}}, {{index}}, {{tasks.split.result}} or {{tasks.split.results}}, with a path such as .parts.0 behind it"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """``of``: item, index, result or results; ``task_id``: of the last two. ``path``: into the value."""

    of: str
    task_id: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        name = f"tasks.{self.task_id}.{self.of}" if self.task_id else self.of
        return ".".join((name, *self.path))


class Unresolvable(Exception):
    """A reference's path leads nowhere in the value that it is of."""


def references(template: Any, field: str) -> Iterator[Reference]:
    """Every reference in the texts of a JSON value. Raises InvalidInput, naming ``field``, on what is none."""
    if isinstance(template, str):
        for _, _, inner in _braces(template):
            if inner is not None:
                yield _parsed(inner, field)
    elif isinstance(template, dict):
        for name, value in template.items():
            yield from references(value, f"{field}.{name}")
    elif isinstance(template, list):
        for index, value in enumerate(template):
            yield from references(value, f"{field}[{index}]")


def fill(template: Any, value_of: Callable[[Reference], Any]) -> Any:
    """The template with its references' values, of which ``value_of`` gives those before the path.

    Raises Unresolvable where a path leads nowhere.
    """
    if isinstance(template, str):
        return _filled(template, value_of)
    if isinstance(template, dict):
        return {name: fill(value, value_of) for name, value in template.items()}
    if isinstance(template, list):
        return [fill(value, value_of) for value in template]
    return template


def _braces(text: str) -> Iterator[tuple[int, int, str | None]]:
    """Where each pair of braces begins and ends, and what is between; None for braces that are meant as such.

    Looked for by hand: an expression for it takes time in the square of braces that are never closed.
    """
    at = 0
    while (opening := _OPENING.search(text, at)) is not None:
        at = opening.end()
        if opening[0].startswith("\\"):
            yield opening.start(), at, None
            continue
        closing = text.find("}}", at)
        if closing < 0:
            return
        yield opening.start(), closing + 2, text[at:closing]
        at = closing + 2


def _filled(text: str, value_of: Callable[[Reference], Any]) -> Any:
    written: list[str] = []
    done = 0
    for begin, end, inner in _braces(text):
        if inner is None:
            value: Any = "{{"
        else:
            value = _value(_parsed(inner, ""), value_of)
            if begin == 0 and end == len(text):
                return value
        written += [text[done:begin], value if isinstance(value, str) else msgspec.json.encode(value).decode()]
        done = end
    return "".join([*written, text[done:]])


def _parsed(inner: str, field: str) -> Reference:
    match = _REFERENCE.fullmatch(inner) if len(inner) <= _LONGEST else None
    if match is None:
        raise InvalidInput(
            f"there is no reference {{{{{inner[:60]}}}}}",
            code="unknown_reference",
            field=field,
            next_action=f"Use {EXAMPLE}; write \\{{{{ for braces that are none.",
        )
    path = tuple(match[4].split(".")[1:]) if match[4] else ()
    return Reference(match[1] or match[3], match[2] or "", path)


def _value(reference: Reference, value_of: Callable[[Reference], Any]) -> Any:
    value = value_of(reference)
    for step in reference.path:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise Unresolvable(f"{{{{{reference}}}}} leads nowhere: there is no {step!r}")
    return value
