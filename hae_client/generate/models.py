"""Python types of the parts of the OpenAPI document that the client speaks.

What is sent becomes a TypedDict, so that callers write plain keyword arguments and what they leave out stays out. What
is answered becomes a msgspec struct; its enums are plain texts there, and fields that it does not know are passed over:
a client goes on working with a newer server.
"""

from __future__ import annotations

import keyword
import textwrap
from collections.abc import Iterator
from typing import Any

SENT = (
    "SubmitJob",
    "RerunChanges",
    "JobFilter",
    "Availability",
    "Quote",
    "Match",
    "CreateSchedule",
    "ScheduleChanges",
    "SubmitPlan",
    "NewHook",
)
ANSWERED = (
    "SubmitAnswer",
    "SubmitJobsAnswer",
    "JobAnswer",
    "JobPage",
    "JobHistory",
    "JobMatch",
    "CancelJobsAnswer",
    "AvailabilityAnswer",
    "QuoteAnswer",
    "MatchAnswer",
    "MetricsAnswer",
    "FeedPage",
    "ScheduleAnswer",
    "SchedulePage",
    "ScheduleDeleted",
    "PlanAnswer",
    "PlanPage",
    "HookMade",
    "HookAnswer",
    "HookPage",
    "HookDeleted",
    "OwnTools",
    "BudgetAnswer",
    "Problem",
)
_HEADER = '''"""The types of the API, generated from its OpenAPI document by ``python -m hae_client.generate``.

Classes of what is sent are TypedDicts; classes of what is answered are msgspec structs.
"""

from __future__ import annotations

from typing import Any, Literal, Required, TypedDict

import msgspec'''
_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}

Schema = dict[str, Any]


def models_source(document: Schema) -> str:
    """The module's source, not yet formatted. Raises KeyError where the document lacks a type that is needed."""
    schemas: dict[str, Schema] = document["components"]["schemas"]
    sent, answered = _reachable(schemas, SENT), _reachable(schemas, ANSWERED)
    both = {name for name in sent & answered if "enum" not in schemas[name]}
    if both:
        raise ValueError(f"sent and answered: {', '.join(sorted(both))}")
    parts = [_HEADER]
    parts += [_alias(name, schemas[name]) for name in sorted(sent) if "enum" in schemas[name]]
    parts += [_typed_dict(name, schemas[name]) for name in sorted(sent) if "enum" not in schemas[name]]
    parts += [_struct(name, schemas[name], schemas) for name in sorted(answered) if "enum" not in schemas[name]]
    return "\n\n".join(parts)


def _reachable(schemas: dict[str, Schema], roots: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _references(schemas[name])
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield _named(node["$ref"])
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


def _named(reference: str) -> str:
    return reference.removeprefix("#/components/schemas/")


def _literal(values: list[Any]) -> str:
    return f"Literal[{', '.join(repr(value) for value in values)}]"


def _alias(name: str, schema: Schema) -> str:
    return f"{name} = {_literal(schema['enum'])}"


def _typed_dict(name: str, schema: Schema) -> str:
    """``total=False``: whoever sends leaves out what is to be at its default."""
    required = set(schema.get("required", ()))
    lines = [f"class {name}(TypedDict, total=False):", *_docstring(schema)]
    for field, kind in schema.get("properties", {}).items():
        lines += [f"    # {line}" for line in textwrap.wrap(_told(kind), 112)]
        annotation = _annotation(kind, None)
        lines.append(f"    {field}: {f'Required[{annotation}]' if field in required else annotation}")
    return "\n".join([*lines, ""] if len(lines) > 1 else [*lines, "    pass", ""])


def _told(kind: Schema) -> str:
    told: str = kind.get("description", "")
    default = kind.get("default")
    if isinstance(default, bool | int | float | str) and default != "" and f"{default} = " not in told:
        told += f"; default {default}" if told else f"Default {default}"
    return told


def _struct(name: str, schema: Schema, schemas: dict[str, Schema]) -> str:
    required = set(schema.get("required", ()))
    lines = [f"class {name}(msgspec.Struct, kw_only=True):", *_docstring(schema)]
    for field, kind in schema.get("properties", {}).items():
        annotation = _annotation(kind, schemas)
        default = None if field in required else _default(kind, annotation)
        if default == "None" and annotation != "Any" and not annotation.endswith("None"):
            annotation += " | None"
        if keyword.iskeyword(field):
            given = f'name="{field}"' if default is None else f'name="{field}", default={default}'
            lines.append(f"    {field}_: {annotation} = msgspec.field({given})")
        else:
            lines.append(f"    {field}: {annotation}" + ("" if default is None else f" = {default}"))
    return "\n".join([*lines, ""] if len(lines) > 1 else [*lines, "    pass", ""])


def _docstring(schema: Schema) -> list[str]:
    told = textwrap.wrap(" ".join(schema.get("description", "").split()), 110)
    if len(told) < 2:
        return [f'    """{line}"""' for line in told]
    return [f'    """{told[0]}', *(f"    {line}" for line in told[1:]), '    """']


def _default(kind: Schema, annotation: str) -> str:
    if "default" in kind:
        return repr(kind["default"])
    if annotation.startswith("list["):
        return "[]"
    return "{}" if annotation.startswith("dict[") else "None"


def _annotation(kind: Schema, answered: dict[str, Schema] | None) -> str:
    """``answered``: all schemas, for a type that is answered; None for one that is sent."""
    if "$ref" in kind:
        name = _named(str(kind["$ref"]))
        return "str" if answered is not None and "enum" in answered[name] else name
    for several in ("oneOf", "anyOf", "allOf"):
        if several in kind:
            found = list(dict.fromkeys(_annotation(one, answered) for one in kind[several]))
            return " | ".join(sorted(found, key=lambda one: one == "None"))
    if "enum" in kind:
        return "str" if answered is not None else _literal(kind["enum"])
    if isinstance(kind.get("type"), list):
        return " | ".join(_annotation({**kind, "type": one}, answered) for one in kind["type"])
    if kind.get("type") == "array":
        return f"list[{_annotation(kind.get('items', {}), answered)}]"
    if kind.get("type") == "object":
        values = kind.get("additionalProperties")
        return f"dict[str, {_annotation(values, answered) if isinstance(values, dict) else 'Any'}]"
    return _PLAIN.get(str(kind.get("type", "")), "Any")
