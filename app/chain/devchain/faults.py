"""Trouble on demand: what real nodes and providers do to their clients, each kind when and as often as asked.

A fault strikes with its probability, from its own generator, so that the same seed and calls give the same trouble.
Faults that change what a transaction looks like stay with the transactions they struck.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec


class Kind(StrEnum):
    """What goes wrong; ``value`` of a fault means what is said here."""

    HTTP_429 = "http_429"
    """HTTP 429. ``value``: of Retry-After, a number of seconds or a date (1)."""
    RPC_429 = "rpc_429"
    """JSON-RPC error 429 inside HTTP 200."""
    RPC_32005 = "rpc_32005"
    """JSON-RPC error -32005 without data, inside HTTP 200: a rate limit of some providers."""
    RPC_ERROR = "rpc_error"
    """Any JSON-RPC error. ``value``: the error object (-32603)."""
    HTTP_500 = "http_500"
    """HTTP 500 with an HTML body."""
    HTTP_502 = "http_502"
    """HTTP 502 with an HTML body."""
    DROP = "drop"
    """The connection is closed instead of an answer."""
    DROP_MID = "drop_mid"
    """The connection is closed in the middle of the answer."""
    SLOW = "slow"
    """The answer comes ``value`` seconds late (1)."""
    LAG = "lag"
    """Everything is answered as of ``value`` slots ago (50), and getHealth says so."""
    NULL_TRANSACTION = "null_transaction"
    """getTransaction answers null."""
    BAD_TRANSACTION = "bad_transaction"
    """getTransaction answers ``value`` (an object without sense)."""
    EMPTY_PAGE = "empty_page"
    """getSignaturesForAddress answers an empty page."""
    BAD_ENTRY = "bad_entry"
    """One entry of a page of signatures is ``value`` (an object without sense)."""
    SHUFFLE = "shuffle"
    """getSignaturesForAddress tells a slot's transactions in another order. ``value`` "each": another every time."""
    UNKNOWN_ERR = "unknown_err"
    """``err`` of a failed transaction (of any, when signatures are given) is ``value`` (a variant nobody knows)."""
    TRUNCATE_LOGS = "truncate_logs"
    """Only the first ``value`` lines of the logs (1) are left, and ``Log truncated``."""
    NULL_LOGS = "null_logs"
    """``logMessages`` is null."""
    VERSION_1 = "version_1"
    """The transaction is of version 1."""
    LOSE_TRANSACTION = "lose_transaction"
    """sendTransaction answers the signature, and the transaction never lands."""
    DELAY_TRANSACTION = "delay_transaction"
    """sendTransaction answers the signature, and the transaction lands ``value`` slots later (2)."""
    WS_CLOSE = "ws_close"
    """WebSockets are closed, cleanly."""
    WS_DROP = "ws_drop"
    """WebSockets are cut off."""
    WS_HALF_OPEN = "ws_half_open"
    """WebSockets stay open and dead: nothing is sent, nothing read, no ping answered."""
    WS_REFUSE = "ws_refuse"
    """New WebSockets are refused with HTTP 503."""
    SUPPRESS = "suppress"
    """Notifications are not sent. ``methods``: those of the subscriptions meant, such as logsSubscribe."""


WS_KINDS = (Kind.WS_CLOSE, Kind.WS_DROP, Kind.WS_HALF_OPEN)
"""They strike all open WebSockets at once, or before the notification after the first ``skip``."""

STICKY = frozenset({Kind.UNKNOWN_ERR, Kind.TRUNCATE_LOGS, Kind.NULL_LOGS, Kind.VERSION_1})
"""They stay with the transactions they struck."""


_NUMBERS = frozenset({Kind.SLOW, Kind.LAG, Kind.TRUNCATE_LOGS, Kind.DELAY_TRANSACTION})


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``probability``: of each strike. ``count``: strikes after which it is over; None for no end. ``skip``: chances
    let pass first. ``methods``, ``signatures``, ``addresses``: what it is limited to; empty for everything.
    """

    kind: Kind
    probability: float = 1.0
    count: int | None = None
    skip: int = 0
    methods: frozenset[str] = frozenset()
    signatures: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    value: Any = None

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError("probability must be 0 to 1")
        if self.skip < 0 or (self.count is not None and self.count < 0):
            raise ValueError("skip and count must be at least 0")
        number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if self.kind in _NUMBERS and self.value is not None and not (number and self.value >= 0):
            raise ValueError(f"the value of {self.kind} must be a number, at least 0")


@dataclass(slots=True)
class _Active:
    fault: Fault
    random: random.Random
    left: int | None
    skip: int
    struck: set[str] = field(default_factory=set)
    missed: set[str] = field(default_factory=set)

    def chance(self) -> bool:
        if self.left == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.random.random() >= self.fault.probability:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Faults:
    """The faults in force. ``on_ws``: told when all WebSockets are to be struck now."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.on_ws: Callable[[Kind], None] | None = None
        self._active: dict[Kind, list[_Active]] = {}
        self._made = 0

    def __bool__(self) -> bool:
        return bool(self._active)

    def add(self, kind: Kind | str, **options: Any) -> Fault:
        """Put a fault in force. Raises ValueError (msgspec's ValidationError) for options that make no sense."""
        fault = msgspec.convert({"kind": kind, **options}, Fault)
        if fault.kind in WS_KINDS and not fault.skip and self.on_ws is not None:
            self.on_ws(fault.kind)
            return fault
        self._made += 1
        active = _Active(fault, random.Random(f"{self.seed} {self._made}"), fault.count, fault.skip)
        if fault.kind in WS_KINDS and fault.count is None:
            active.left = 1
        self._active.setdefault(fault.kind, []).append(active)
        return fault

    def clear(self, kinds: Iterable[Kind | str] = ()) -> None:
        """Lift the faults of these kinds, of all kinds when none is named."""
        for kind in [Kind(each) for each in kinds] or list(self._active):
            self._active.pop(kind, None)

    def listed(self) -> list[dict[str, Any]]:
        """The faults in force, with how many strikes are left."""
        return [
            {**msgspec.to_builtins(active.fault), "left": active.left}
            for group in self._active.values()
            for active in group
        ]

    def strike(self, kind: Kind, *, method: str = "", address: str = "", signature: str = "") -> Fault | None:
        """The fault of ``kind`` that strikes this call, if one does."""
        for active in self._active.get(kind, ()):
            fault = active.fault
            if fault.methods and method not in fault.methods:
                continue
            if fault.addresses and address not in fault.addresses:
                continue
            if fault.signatures and signature not in fault.signatures:
                continue
            if kind in STICKY and signature:
                if _sticks(active, signature):
                    return fault
                continue
            if active.chance():
                return fault
        return None

    def strike_request(self, kind: Kind, methods: frozenset[str]) -> Fault | None:
        """The fault of ``kind`` that strikes an HTTP request with calls of these methods: one chance a request."""
        for active in self._active.get(kind, ()):
            if (not active.fault.methods or active.fault.methods & methods) and active.chance():
                return active.fault
        return None

    def any_of(self, kind: Kind) -> Fault | None:
        """A fault of ``kind`` that holds all the time, such as lag."""
        return next((active.fault for active in self._active.get(kind, ()) if active.left != 0), None)


def _sticks(active: _Active, signature: str) -> bool:
    """Whether the fault has struck this transaction, or strikes it now, once for all times."""
    if signature in active.struck:
        return True
    if signature in active.missed:
        return False
    hit = active.chance()
    (active.struck if hit else active.missed).add(signature)
    return hit
