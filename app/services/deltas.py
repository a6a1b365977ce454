"""News of nodes as packed bytes: what waves change often, from one process's commit into every process's view.

An entry is ``MAGIC``, the count of its nodes (uint32), then one column after the other for all of them, little-endian
(COLUMNS), then the lengths of their ids (uint8) and the ids, ASCII.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.nodes import NodeRecord
from app.matchmaker.batch import RANGES, NodeDeltas
from app.matchmaker.packing import STATE_CODES, STATES

MAGIC: Final = b"HND1"
"""Names the form: entries of another one are for processes of another version, and passed over."""
COLUMNS: Final = (
    ("version", "<i8"),
    ("active_jobs", "<i2"),
    ("state", "u1"),
    ("reputation", "<i2"),
    ("jobs_completed", "<i4"),
    ("jobs_failed", "<i4"),
    ("response_ms", "<i4"),
    ("penalty", "<i2"),
    ("trial", "<i2"),
)
MAX_NODES: Final = 65_536
_HEAD: Final = struct.Struct("<4sI")
_ROW: Final = sum(np.dtype(kind).itemsize for _, kind in COLUMNS) + 1


def pack(records: Sequence[NodeRecord]) -> bytes:
    """One entry with the news of these nodes, at most MAX_NODES. Ids are ASCII, as new_id makes them."""
    columns = [
        np.array([STATE_CODES[r.state] if name == "state" else getattr(r, name) for r in records], kind).tobytes()
        for name, kind in COLUMNS
    ]
    ids = [record.id.encode("ascii", "replace") for record in records]
    lengths = np.array([len(one) for one in ids], "u1").tobytes()
    return b"".join([_HEAD.pack(MAGIC, len(records)), *columns, lengths, *ids])


def unpack(entry: bytes) -> NodeDeltas | None:
    """The news in an entry; None for what is none, or says what no node can be."""
    if len(entry) < _HEAD.size:
        return None
    magic, count = _HEAD.unpack_from(entry)
    if magic != MAGIC or count > MAX_NODES or len(entry) < _HEAD.size + count * _ROW:
        return None
    columns: dict[str, NDArray[Any]] = {}
    at = _HEAD.size
    for name, kind in (*COLUMNS, ("length", "u1")):
        columns[name] = np.frombuffer(entry, kind, count, at)
        at += columns[name].nbytes
    ends = at + np.cumsum(columns.pop("length"), dtype=np.int64)
    if (int(ends[-1]) if count else at) != len(entry) or not _possible(columns):
        return None
    # Bytes that are no ASCII make ids that no node has.
    text = entry[at:].decode("latin-1")
    ends -= at
    ids = [text[start:end] for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=False)]
    return NodeDeltas(ids=ids, **columns)


def _possible(columns: dict[str, NDArray[Any]]) -> bool:
    """Whether the index can hold every figure; active jobs it holds against the capacity itself."""
    limits = {**RANGES, "state": (0, len(STATES) - 1), "active_jobs": RANGES["capacity"]}
    return all(
        not len(column) or (int(column.min()) >= limits[name][0] and int(column.max()) <= limits[name][1])
        for name, column in columns.items()
    )
