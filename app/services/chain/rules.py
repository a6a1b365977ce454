"""What the settings say about the effects of events, and what is to be looked at anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from app.core.folding import JOB_EVENTS, NODE_EVENTS, PAYMENT_EVENTS, Key
from app.core.payouts import Wallets
from app.store.chain.events import KnownEvent
from app.store.chain.payments import PaymentRow


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """What a job gets that comes from the chain without a spec."""

    policy: str
    timeout_s: int
    max_retries: int
    queue_ttl_s: int
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """``grace``: how long a job on chain waits for its spec. ``default_price``: base units of HYPER per GPU-hour."""

    wallets: Wallets
    grace: timedelta
    defaults: JobDefaults
    default_price: int


@dataclass(slots=True)
class Look:
    """Accounts on chain to fold anew. ``payments``: payment events that are not stored yet. ``changed``: events as
    they are now. ``accounts``: state as fetched, by address. ``doubted``: jobs whose state may be of a lost block."""

    jobs: set[str] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)
    payments: list[PaymentRow] = field(default_factory=list)
    changed: dict[Key, KnownEvent] = field(default_factory=dict)
    accounts: Mapping[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)

    def at(self, name: str, address: str | None) -> None:
        """An event of that name of that address is new or changed."""
        if address is not None and name in NODE_EVENTS:
            self.nodes.add(address)
        elif address is not None and name in JOB_EVENTS:
            self.jobs.add(address)

    def note(self, changed: Iterable[KnownEvent]) -> None:
        """These events are as they are told now."""
        for event in changed:
            self.at(event.name, event.address)
            if event.name in PAYMENT_EVENTS:
                self.changed[event.key] = event
