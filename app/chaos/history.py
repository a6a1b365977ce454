"""The recorded history of a run: every call that a client made, with what it knows of the outcome.

``ok``: the engine acknowledged it. ``fail``: it refused it, so nothing may have come of it. ``unknown``: no answer came
(a connection cut, a time-out, a 5xx without a promise): it may have happened or not, now or later.
"""

from __future__ import annotations

import time
from typing import Literal

import msgspec

Outcome = Literal["ok", "fail", "unknown"]
Kind = Literal[
    "submit",
    "cancel",
    "submit_plan",
    "cancel_plan",
    "offers",
    "accept",
    "decline",
    "progress",
    "result",
    "failure",
    "heartbeat",
    "webhook",
    "feed",
]


class Op(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One call. Times are seconds of one monotonic clock, that of the process that records.

    ``key``: the idempotency key of a submit, the webhook-id of a webhook, the event's id in the feed. ``state``: what
    a job's answer or a webhook said of the job. ``code``: the problem's code of a refusal. ``note``: what the actor did
    it for, such as ``double_accept``, ``after_expiry``, ``wrong_node``, ``after_cancel``; empty for ordinary calls.
    ``position``: of an event read from the feed. ``endpoint``: that a webhook came to. ``digest``: of a webhook's body.
    ``attempt``: of an offer. ``job_id``: of calls about plans, the plan's.
    """

    kind: Kind
    actor: str
    began: float
    ended: float
    outcome: Outcome
    key: str = ""
    job_id: str = ""
    offer_id: str = ""
    node_id: str = ""
    attempt: int = 0
    state: str = ""
    event: str = ""
    endpoint: str = ""
    digest: str = ""
    position: int = 0
    code: str = ""
    status: int = 0
    note: str = ""


class FaultDone(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A fault as it was brought about: ``began`` until ``healed``, by the same clock; ``recovered_s`` after healing, if
    that was measured."""

    kind: str
    target: str
    began: float
    healed: float
    recovered_s: float | None = None


class History:
    """What a run recorded, in the order of the ends of the calls.

    ``endpoints``: by name, the kinds of events that a receiver asked for. ``readers``: by name, the accounts whose
    events a reader of the feed may see, None = all; ``read_to``: the last position that it was waited for to read.
    """

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.faults: list[FaultDone] = []
        self.endpoints: dict[str, frozenset[str]] = {}
        self.readers: dict[str, frozenset[str] | None] = {}
        self.read_to: dict[str, int] = {}

    def add(self, op: Op) -> None:
        self.ops.append(op)

    @staticmethod
    def now() -> float:
        """The clock of the records."""
        return time.monotonic()
