"""The hash chain of a job's history: each row's hash covers the row and the hash of the row before.

Whoever changes, drops or reorders rows afterwards would have to recompute all that follow, up to ``jobs.history_head``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from app.core.jobs import Move

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SEPARATOR = "\x1f"


def link(
    before: bytes | None,
    job_id: str,
    source: str | None,
    target: str,
    attempt: int,
    reason: str,
    actor: str,
    node_id: str | None,
    at: datetime,
) -> bytes:
    """sha256 of the row, 32 bytes. ``before``: the hash of the job's row before, None for its first hashed one.

    The fields are joined by U+001F, absent ones empty, ``at`` as microseconds since 1970, after the hash before in hex.
    """
    fields = (
        "" if before is None else before.hex(),
        job_id,
        source or "",
        target,
        str(attempt),
        reason,
        actor,
        node_id or "",
        str(microseconds(at)),
    )
    return hashlib.sha256(_SEPARATOR.join(fields).encode()).digest()


def microseconds(at: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (at - _EPOCH) // _MICROSECOND


def chained(
    moves: Sequence[Move], heads: Mapping[str, bytes | None], at: datetime
) -> tuple[list[bytes], dict[str, bytes]]:
    """The hash of each move, in order, and each job's new head. ``heads``: of the jobs before, absent = none."""
    new: dict[str, bytes] = {}
    hashes = []
    for move in moves:
        before = new.get(move.job_id) or heads.get(move.job_id)
        digest = new[move.job_id] = link(
            before, move.job_id, move.source, move.target, move.attempt, str(move.reason), move.actor, move.node_id, at
        )
        hashes.append(digest)
    return hashes, new
