"""Plain records of notifications on their way to receivers, shared by the store and the dispatcher."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class DeliveryState(StrEnum):
    PENDING = "pending"
    """Due now or later; a dispatcher claims it."""
    DELIVERED = "delivered"
    """The receiver answered 2xx."""
    DEAD = "dead"
    """Given up: refused for good, or every try of the schedule is used up."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, as receivers are told of it. ``at`` is aware; ``data`` is what the engine
    stored.
    """

    id: str
    kind: str
    at: datetime
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint, claimed. ``tries`` counts this claim: 1 at the first."""

    id: str
    event: Event
    endpoint: str
    tries: int


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """What became of a claimed delivery.

    ``next_in_s``: seconds until it is due again, for PENDING only. ``error`` names neither URL nor secret.
    ``status_code``: the receiver's HTTP status, None when there was no answer.
    """

    id: str
    state: DeliveryState
    next_in_s: float | None = None
    error: str | None = None
    status_code: int | None = None
