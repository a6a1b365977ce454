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
_SHIFTS = tuple(range(70, -10, -10))

_lock = threading.Lock()
_last = 0
_time_text = (0, "")


def new_id(prefix: str) -> str:
    """A fresh id ``{prefix}_{ulid}``; strictly greater than every id this process made before with that prefix."""
    global _last, _time_text
    with _lock:
        now = time.time_ns() // 1_000_000
        # Within one millisecond (or when the clock steps back) count on from the last one, so that order holds.
        # Processes stay apart by the random bits each drew for its first id of a millisecond.
        value = _last + 1 if now <= _last >> _RANDOM_BITS else now << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        _last = value
        stamp = value >> _RANDOM_BITS
        if stamp != _time_text[0]:
            _time_text = (stamp, _encode(stamp, 5))
        return f"{prefix}_{_time_text[1]}{_encode(value, 8)}"


def _encode(value: int, pairs: int) -> str:
    """The low ``10 * pairs`` bits of ``value`` as ``2 * pairs`` characters."""
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS[-pairs:]])
