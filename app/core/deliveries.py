"""Plain records of notifications on their way to receivers, shared by the store and the dispatcher."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final


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
    ``status_code``: the receiver's HTTP status, None when there was no answer. For agents' hooks: ``failed``, a try
    was made in vain; ``gone``, the receiver wants nothing more; ``last``, nothing comes after this event.
    """

    id: str
    state: DeliveryState
    next_in_s: float | None = None
    error: str | None = None
    status_code: int | None = None
    failed: bool = False
    gone: bool = False
    last: bool = False


@dataclass(frozen=True, slots=True)
class Fanned:
    """What one fan-out came to: ``events`` taken from the feed; ``hooked``: whether any was for an agent's hook."""

    events: int = 0
    hooked: bool = False


HOOK_PREFIX: Final = "hook:"
"""What the endpoint of a delivery to an agent's hook begins with, before the hook's id; none of the settings does."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A URL that an agent is sent its account's events at. URL, secret, token and options are credentials.

    ``form``: what is sent, ``custom`` for the network's own payload, ``a2a`` for an A2A task's status. ``subject``: the
    job or plan whose events alone are wanted, empty = the account's. ``kinds``: of events, empty = all that webhooks
    are told of. ``error``: why it was ended, if not by its agent or with its subject.
    """

    id: str
    account: str
    key_id: str
    form: str
    subject: str
    kinds: list[str]
    url: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(repr=False)
    options: dict[str, Any] = field(repr=False)
    created_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None

    @property
    def endpoint(self) -> str:
        """What its deliveries are stored under."""
        return HOOK_PREFIX + self.id


@dataclass(frozen=True, slots=True)
class WaitingHook:
    """An endpoint of a hook that has something due. ``hook``: None when its agent has deleted it; ``revoked``: whether
    the key that made it was."""

    endpoint: str
    hook: Hook | None
    revoked: bool = False
