"""An event in words, the same for every chat: a title, a few facts and perhaps one longer text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from app.core.deliveries import Event
from app.core.events import EventKind
from app.core.money import format_hyper

Tone = Literal["good", "bad", "neutral"]

PRIVATE = frozenset({"account", "key_id"})
"""Data that receivers are never told."""

_TONES: dict[str, Tone] = {
    EventKind.JOB_COMPLETED: "good",
    EventKind.NODE_REGISTERED: "good",
    EventKind.JOB_FAILED: "bad",
    EventKind.JOB_EXPIRED: "bad",
    EventKind.NODE_OFFLINE: "bad",
    EventKind.PAYMENT_DISTRIBUTED: "good",
    EventKind.PAYMENT_DISPUTED: "bad",
    EventKind.OPERATOR_MISMATCH: "bad",
    EventKind.PLAN_COMPLETED: "good",
    EventKind.PLAN_FAILED: "bad",
}
_LABELS = (
    ("job_id", "Job"),
    ("plan_id", "Plan"),
    ("node_id", "Node"),
    ("type", "Type"),
    ("attempt", "Attempt"),
    ("reason", "Reason"),
    ("mismatch", "Mismatch"),
    ("operator", "Operator"),
    ("chain_job", "Account"),
    ("tx_signature", "Transaction"),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """``facts`` are (label, value) pairs of short plain text; ``text`` is foreign and of any length. Nothing
    is escaped.
    """

    title: str
    tone: Tone
    facts: list[tuple[str, str]]
    text: str


def summarise(event: Event) -> Summary:
    """What to say about ``event``; data that is missing or of an odd type is left out or shown as it is."""
    title = event.kind.replace("_", " ").capitalize()
    tone = _TONES.get(event.kind, "neutral")
    if event.kind == EventKind.OPERATOR_MESSAGE:
        return Summary(title, tone, [], _message(event.data))
    facts = [(label, str(event.data[key])) for key, label in _LABELS if event.data.get(key) not in (None, "")]
    duration, cost = event.data.get("duration_ms"), event.data.get("cost")
    if isinstance(duration, int):
        facts.append(("Duration", f"{duration / 1000:g} s"))
    if isinstance(cost, int):
        facts.append(("Cost", f"{format_hyper(cost)} HYPER"))
    amount = event.data.get("amount")
    if isinstance(amount, int):
        facts.append(("Amount", f"{format_hyper(amount)} HYPER"))
    return Summary(title, tone, facts, str(event.data.get("error") or ""))


def _message(data: dict[str, Any]) -> str:
    for key in ("message", "text"):
        if isinstance(data.get(key), str) and data[key]:
            return str(data[key])
    shown = {key: value for key, value in data.items() if key not in PRIVATE}
    return json.dumps(shown, ensure_ascii=False, default=str) if shown else ""
