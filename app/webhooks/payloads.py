"""The body of custom webhooks: the network's documented payload, consistent over all events.

``{"event":"job_completed","job_id":…,"node_id":…,"type":…,"duration_ms":…,"cost_hyper":2.5}`` comes first,
in this order; then whatever else the event tells, then ``id`` (equal to webhook-id) and ``at`` (RFC 3339,
UTC). ``cost_hyper`` is a JSON number because the network's documents promise one; ``cost`` says the same
exactly, as a decimal string, and so is every other amount. Receivers in JavaScript parse and print bodies
again, so no number is written in a way that this would change.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from app.core.deliveries import Event
from app.core.events import EventKind
from app.core.money import UNIT, format_hyper
from app.webhooks.summary import PRIVATE
from app.webhooks.text import clip

MAX_BYTES = 19_999
"""Standard Webhooks asks for payloads below 20 kB."""

_JOB = ("job_id", "type")
_ON_NODE = ("job_id", "node_id", "type")
_PAID = (*_ON_NODE, "chain_job", "amount", "tx_signature")
DOCUMENTED: Mapping[str, tuple[str, ...]] = {
    EventKind.JOB_SUBMITTED: _JOB,
    EventKind.JOB_MATCHED: (*_ON_NODE, "attempt"),
    EventKind.JOB_STARTED: (*_ON_NODE, "attempt"),
    EventKind.JOB_COMPLETED: (*_ON_NODE, "duration_ms", "cost_hyper"),
    EventKind.JOB_FAILED: (*_ON_NODE, "reason", "error"),
    EventKind.JOB_CANCELLED: (*_ON_NODE, "reason"),
    EventKind.JOB_EXPIRED: (*_JOB, "reason"),
    EventKind.NODE_REGISTERED: ("node_id",),
    EventKind.NODE_OFFLINE: ("node_id", "reason"),
    EventKind.PAYMENT_DISTRIBUTED: _PAID,
    EventKind.PAYMENT_DISPUTED: (*_PAID, "reason"),
    EventKind.OPERATOR_MISMATCH: (*_ON_NODE, "chain_job", "mismatch", "operator"),
    EventKind.PLAN_COMPLETED: ("plan_id", "cost_hyper"),
    EventKind.PLAN_FAILED: ("plan_id", "cost_hyper", "reason", "error"),
    EventKind.PLAN_CANCELLED: ("plan_id", "cost_hyper", "reason"),
    EventKind.OPERATOR_MESSAGE: ("data",),
}
"""Keys that are always there, null when unknown, in their order after ``event``."""

_AMOUNTS = ("cost", "price", "max_price", "amount")
_OWN = frozenset({"event", "id", "at", "cost_hyper", "truncated"})
_SAFE_INTEGER = 2**53 - 1
_MAX_DEPTH = 16
_TEXT_LIMITS = (4000, 1000, 200, 40)


def build(event: Event) -> bytes:
    """Compact UTF-8 JSON below 20 kB. Long texts are cut, and at last undocumented keys dropped, with
    ``truncated: true``.
    """
    for limit in _TEXT_LIMITS:
        body = _encode(event, limit, extras=True)
        if len(body) <= MAX_BYTES:
            return body
    return _encode(event, _TEXT_LIMITS[-1], extras=False)


def _encode(event: Event, limit: int, *, extras: bool) -> bytes:
    trim = _Trim(limit)
    payload = _payload(event, trim, extras)
    if trim.cut or not extras:
        payload["truncated"] = True
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    if "e-0" in text:
        text = _SMALL.sub(_as_in_javascript, text)
    return text.encode("utf-8", "replace")


_SMALL = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9.]+e-0[0-9]', re.DOTALL)
"""Texts, which stay as they are, and small numbers."""


def _as_in_javascript(match: re.Match[str]) -> str:
    """A small number as ECMA-262 writes it: 0.00005 where Python has 5e-05, and 5e-8 for 5e-08."""
    token = match[0]
    if token.startswith('"'):
        return token
    return format(Decimal(token), "f") if token[-2:] in ("05", "06") else token.replace("e-0", "e-")


def _payload(event: Event, trim: _Trim, extras: bool) -> dict[str, Any]:
    data = {key: value for key, value in event.data.items() if key not in PRIVATE}
    if event.kind == EventKind.OPERATOR_MESSAGE:
        data = {"data": data if extras else None}
    cost = data.get("cost")
    data |= {key: format_hyper(data[key]) for key in _AMOUNTS if isinstance(data.get(key), int)}
    payload: dict[str, Any] = {"event": event.kind}
    for key in DOCUMENTED.get(event.kind, ()):
        if key == "cost_hyper":
            payload[key] = _number(cost)
        else:
            # Without extras the body must get small whatever the values are: nested ones go too.
            payload[key] = trim.value(data.get(key), 0 if extras else _MAX_DEPTH)
    if extras:
        rest = (key for key in data if key not in payload and key not in _OWN)
        payload |= {trim.text(key): trim.value(data[key]) for key in rest}
    return payload | {"id": event.id, "at": _rfc3339(event.at)}


def _number(cost: Any) -> int | float | None:
    """HYPER as a JSON number: 2, not 2.0; amounts of up to 15 digits come out digit for digit."""
    if not isinstance(cost, int):
        return None
    return cost // UNIT if cost % UNIT == 0 else float(format_hyper(cost))


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Trim:
    """Copies JSON values into what every receiver reads alike; ``cut``: whether anything was left out."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.cut = False

    def text(self, text: str) -> str:
        short = clip(text, self.limit)
        self.cut |= short != text
        return short

    def value(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping | list | tuple) and depth >= _MAX_DEPTH:
            self.cut = True
            return None
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner, depth + 1) for inner in value]
        return _plain_number(value)


def _plain_number(value: Any) -> Any:
    """Integral floats as integers, integers that JavaScript would round as strings, what JSON has no word for
    as null.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = int(value) if value.is_integer() else value
    if isinstance(value, int) and abs(value) > _SAFE_INTEGER:
        return str(value)
    if isinstance(value, datetime):
        return _rfc3339(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)
