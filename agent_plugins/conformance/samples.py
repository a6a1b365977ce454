"""What plugins are tried with: answers of every tool, problems of every code, events of every kind, hostile bodies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agent_plugins.protocol import AgentEvent
from app.core.errors import HaeError
from app.core.events import EventKind
from tools.registry import Tool, describe

TEXT = "naïve “quotes” <b>&amp; \u202eמשפט 🚀 \\n ${x} {{y}}"


def answers(tool: Tool) -> dict[str, dict[str, Any]]:
    """Answers of the tool by what they hold: ``full`` has something everywhere, ``bare`` as little as may be."""
    schema = describe(tool)["output_schema"]
    return {"full": _sample(schema, True), "bare": _sample(schema, False)}


def _sample(schema: Mapping[str, Any], full: bool) -> Any:
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            options = [one for one in schema[choice] if one.get("type") != "null"]
            return _sample(options[0], full) if full or len(options) == len(schema[choice]) else None
    if "enum" in schema or "const" in schema:
        return schema.get("const", [*schema.get("enum", ()), None][0])
    kind = schema.get("type")
    if kind == "object":
        found = {name: _named(name, one, full) for name, one in schema.get("properties", {}).items()}
        others = schema.get("additionalProperties")
        return found | ({"other": _sample(others, full)} if full and isinstance(others, dict) else {})
    if kind == "array":
        items = schema.get("items", {})
        return [_sample(items, full)] if full else []
    bare: dict[Any, Any] = {"string": "", "integer": schema.get("minimum", 0), "number": 0.0, "boolean": False}
    filled: dict[Any, Any] = {"string": TEXT, "integer": 7, "number": 0.5, "boolean": True}
    if kind is None:
        return {"any": [TEXT, 1, None]} if full else None
    return (filled if full else bare).get(kind)


def _named(name: str, schema: Mapping[str, Any], full: bool) -> Any:
    """Ids and amounts look like ids and amounts, in bare answers too where an answer is about them."""
    if schema.get("type") == "string" and "enum" not in schema:
        if name in IDS:
            return f"{name.removesuffix('_id')}_01jd3k5m7p9r1t3v5x7z9b1d3f"
        if full and name.endswith("_hyper"):
            return "0.25"
    return _sample(schema, full)


IDS = ("job_id", "plan_id", "schedule_id")
"""Fields of answers that an agent needs in order to go on."""


def problems() -> Iterator[dict[str, Any]]:
    """A problem document of every code that errors have."""
    kinds, codes = [HaeError], dict[str, bool]()
    for kind in kinds:
        kinds += kind.__subclasses__()
        codes.setdefault(kind.code, kind.retryable)
    for code in (*codes, "internal_error", "a_code_of_tomorrow"):
        retryable = codes.get(code, False)
        yield {
            "type": f"/problems/{code.replace('_', '-')}",
            "title": code.replace("_", " ").capitalize(),
            "status": 503 if retryable else 422,
            "detail": f"what is wrong is {code}",
            "code": code,
            "retryable": retryable,
            "retry_after": 1.5 if retryable else None,
            "next_action": "Do it otherwise.",
            "field": "job_id",
        }


def events() -> Iterator[AgentEvent]:
    """An event of every kind, of a job and of none, and of a kind that there is not yet."""
    for number, kind in enumerate([*(one.value for one in EventKind), "kind_of_tomorrow"], 1):
        for job_id in ("job_01jd3k5m7p9r1t3v5x7z9b1d3f", ""):
            yield AgentEvent(
                position=number,
                id=f"evt_01jd3k5m7p9r1t3v5x7z9b1d3{number % 10}",
                kind=kind,
                at="2026-11-26T12:00:00.000Z",
                job_id=job_id,
                node_id="" if job_id else "node_01jd3k5m7p9r1t3v5x7z9b1d3f",
                data={"state": "completed", "cost_hyper": "0.25", "note": TEXT, "deep": {"list": [1, None, {}]}}
                if job_id
                else {},
            )


def hostile() -> Iterator[Any]:
    """Bodies that no plugin can make sense of, and that it must refuse or pass on without falling."""
    yield from (None, True, 0, -1, 2**63 - 1, 1.5e308, "", TEXT, "x" * 200_000, [], [[]], [None] * 10_000, {})
    yield {TEXT: TEXT, "": "", "__class__": {}, "constructor": {"prototype": {}}, "a" * 10_000: 1}
    yield {f"field_{number}": number for number in range(10_000)}
    deep: Any = "bottom"
    for level in range(63):
        deep = {"a": deep} if level % 2 else [deep]
    yield deep
    yield {"deep": deep}


WRONG: tuple[Any, ...] = (None, [], {}, "", "x", TEXT, -1, 2**63 - 1, 1.5, True, [[None]], {"a": [{}]})
"""What is put in the place of each field of each example."""


def changed(example: Any) -> Iterator[tuple[str, Any]]:
    """The example with one of its fields replaced by each of WRONG, to two levels, and each field left out."""
    if not isinstance(example, dict):
        return
    for name, value in example.items():
        yield f"{name} left out", {other: kept for other, kept in example.items() if other != name}
        for wrong in WRONG:
            yield f"{name} = {wrong!r}"[:80], {**example, name: wrong}
        if isinstance(value, dict):
            for inner in value:
                yield f"{name}.{inner} left out", {**example, name: {k: v for k, v in value.items() if k != inner}}
                for wrong in WRONG:
                    yield f"{name}.{inner} = {wrong!r}"[:80], {**example, name: {**value, inner: wrong}}
