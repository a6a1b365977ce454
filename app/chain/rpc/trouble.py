"""Why a request to one endpoint has no answer yet, and with that what happens next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from app.chain.rpc.errors import RpcError


class Kind(IntEnum):
    """In ascending order of what it says about the endpoint."""

    REFUSED = 0
    """The batch as such, or its answer is too large: halve it."""
    MISSING = 1
    """An item of a batch without an answer: ask for it again."""
    DOUBTFUL = 2
    """The node failed at this one request: another may do better; after a few tries the error is the answer."""
    BEHIND = 3
    """The node has not reached minContextSlot yet: another may have, or this one in a moment."""
    DROPPED = 4
    """The connection broke off. Idle ones do, so the first time is forgiven; after that the endpoint rests."""
    BROKEN = 5
    """Unreachable, HTTP errors, HTML, garbage: the endpoint rests."""
    TIMED_OUT = 6
    """The endpoint rests, and its batches get smaller."""
    LIMITED = 7
    """Rate limited or unwell by its own account: the endpoint rests, for as long as it said."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """``reason``: fit for logs, with no address in it. ``retry_after_s``: as asked for, None when not.

    ``error``: the node's words, for DOUBTFUL.
    """

    kind: Kind
    reason: str
    retry_after_s: float | None = None
    error: RpcError | None = None
