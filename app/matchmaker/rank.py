"""The top N of the feasible nodes, with ties broken the same way on every replica."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.matchmaker.arrays import Ints, Positions, SmallWords, Words

_SHIFT_30, _SHIFT_27, _SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)
_MULTIPLY_1, _MULTIPLY_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


_FEW = 8
_HIGHEST = {4: 2**31 - 1, 8: 2**63 - 1}


def hash_job(job_id: str) -> int:
    """A stable 64-bit hash of a job's id: BLAKE2b with an 8-byte digest over UTF-8, read as little-endian."""
    return int.from_bytes(hashlib.blake2b(job_id.encode(), digest_size=8).digest(), "little")


def hash_node(node_id: str) -> int:
    """A stable 32-bit hash of a node's id: CRC-32 over UTF-8, for a million are hashed at a start."""
    return zlib.crc32(node_id.encode())


def tie_hashes(job: int, nodes: SmallWords) -> Words:
    """hash(job, node) of each node: splitmix64's finaliser (Steele, Lea, Flood 2014) over the xor of both.

    For one job it is a bijection, so two nodes collide only if their ids' hashes do.
    """
    z = nodes.astype(np.uint64) ^ np.uint64(job)
    z = (z ^ (z >> _SHIFT_30)) * _MULTIPLY_1
    z = (z ^ (z >> _SHIFT_27)) * _MULTIPLY_2
    return z ^ (z >> _SHIFT_31)


def shortlist(keys: Sequence[Ints], tie: Callable[[Positions], Words], n: int) -> Positions:
    """Positions, in no order, of the ``n`` least rows by ``keys`` and then ``tie``.

    More than ``n`` come back only if rows beyond the n-th equal it in all keys and in ``tie``. ``tie`` is
    asked for the rows that still tie after the last key, and only if they matter.
    """
    taken: list[Positions] = []
    pool: Positions | None = None
    if len(keys) == 1 and len(keys[0]) > n:
        # Mostly nothing ties with the n-th.
        least: Positions = (keys[0] <= np.partition(keys[0], n - 1)[n - 1]).nonzero()[0]
        if len(least) == n:
            return least
    for key in keys:
        values = key if pool is None else key[pool]
        if len(values) <= n:
            break
        limit = np.partition(values, n - 1)[n - 1]
        sure, tied = (values < limit).nonzero()[0], (values == limit).nonzero()[0]
        taken.append(sure if pool is None else pool[sure])
        pool = tied if pool is None else pool[tied]
        n -= len(sure)
    if pool is None:
        return np.arange(len(keys[0]))
    if len(pool) > n:
        hashes = tie(pool)
        pool = pool[hashes <= np.partition(hashes, n - 1)[n - 1]]
    taken.append(pool)
    return np.concatenate(taken)


def nth_highest(figures: NDArray[np.float64], n: int) -> float:
    """The n-th highest of at least ``n`` figures. For few it is fastest to take the highest away again and again."""
    if n > _FEW:
        return float(np.partition(figures, len(figures) - n)[len(figures) - n])
    taken = []
    value = 0.0
    for _ in range(n):
        at = figures.argmax()
        value = figures[at]
        taken.append((at, value))
        figures[at] = -np.inf
    for at, before in taken:
        figures[at] = before
    return float(value)


def lowest(keys: NDArray[np.signedinteger[Any]], n: int) -> list[int]:
    """Positions of the ``n`` lowest keys, or of all if there are fewer."""
    left = keys.copy()
    found = []
    for _ in range(min(n, len(left))):
        at = int(left.argmin())
        found.append(at)
        left[at] = _HIGHEST[left.dtype.itemsize]
    return found
