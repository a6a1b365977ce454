"""What workers did, counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class NodeStats:
    """Counters of one worker, or of a fleet that shares the object."""

    registered: int = 0
    accepted: int = 0
    declined: int = 0
    completed: int = 0
    """Results the server took."""
    failed: int = 0
    """Failures the server took."""
    taken_away: int = 0
    """Runs stopped because the job was cancelled or given to another node."""
    undelivered: int = 0
    """Reports the server refused, or that could not be delivered before the shutdown."""
    vanished: int = 0
