"""Prefixed, sortable identifiers: ``job_01jd…``, ``node_…``, ``offer_…``, ``evt_…``.

The body is a ULID (github.com/ulid/spec) in lower case: 48 bits of Unix milliseconds, then 80 random bits, in
Crockford's base 32. Ids made later sort later; ids made by one process within one millisecond sort in the order in
which they were made. ``job_`` + 26 characters fits the 32 bytes that the on-chain job account allows.
"""

from __future__ import annotations

import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_RANDOM_BITS = 80

ID_LENGTH_MAX = 40
"""Longest id the database stores (prefix, underscore, 26 characters, room to grow)."""

_lock = threading.Lock()
_last = 0


def new_id(prefix: str) -> str:
    """A fresh id ``{prefix}_{ulid}``; strictly greater than every id this process made before with that prefix."""
    global _last
    with _lock:
        now = time.time_ns() // 1_000_000
        # Within one millisecond (or when the clock steps back) count on from the last one, so that order holds.
        # Processes stay apart by the random bits each drew for its first id of a millisecond.
        value = _last + 1 if now <= _last >> _RANDOM_BITS else now << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        _last = value
    return f"{prefix}_{_encode(value)}"


def _encode(value: int) -> str:
    pairs = []
    for _ in range(13):
        pairs.append(_PAIRS[value & 1023])
        value >>= 10
    return "".join(reversed(pairs))
