"""Whole columns out of PostgreSQL in one go: binary COPY straight into arrays, without a Python object a row.

Every value has a fixed width, so that rows of a million nodes are one array with a stride. Format: PostgreSQL manual,
COPY, "Binary Format".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.store.db import UnitOfWork

_HEADER: Final = 19
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER: Final = b"\xff\xff"


class Packed(NamedTuple):
    """A column to read: its ``name`` in the array, the SQL ``expression``, and its type: ``i2``, ``i4``, ``i8``, or
    ``S`` and a number: text of a column that holds no more characters, padded to that many bytes."""

    name: str
    expression: str
    kind: str


async def read_packed(uow: UnitOfWork, columns: Sequence[Packed], source: str) -> NDArray[Any] | None:
    """The rows of ``source`` (what follows FROM) as an array with a field a column, integers as they come off the wire
    (big-endian). None when a value has another width: NULL, or text that is not ASCII."""
    layout: list[tuple[str, str]] = [("_fields", ">i2")]
    for name, _, kind in columns:
        layout += [(f"_{name}", ">i4"), (name, kind if kind.startswith("S") else f">{kind}")]
    expressions = ", ".join(_padded(column) for column in columns)
    chunks: list[bytes] = []

    async def take(chunk: bytes) -> None:
        chunks.append(chunk)

    await uow.sql.copy_from_query(f"SELECT {expressions} FROM {source}", output=take, format="binary")
    data = b"".join(chunks)
    row = np.dtype(layout)
    count, rest = divmod(len(data) - _HEADER - len(_TRAILER), row.itemsize)
    if rest or count < 0 or not data.startswith(_SIGNATURE) or not data.endswith(_TRAILER):
        return None
    rows = np.frombuffer(data, row, count, _HEADER)
    expected = {"_fields": len(columns)} | {f"_{name}": row[name].itemsize for name, _, _ in columns}
    return rows if all(bool((rows[name] == width).all()) for name, width in expected.items()) else None


def native(rows: NDArray[Any], name: str) -> NDArray[Any]:
    """One integer column by itself, in this machine's byte order."""
    column = rows[name]
    return column.astype(column.dtype.newbyteorder("="))


def texts(rows: NDArray[Any], name: str) -> list[str]:
    """One text column by itself, without its padding."""
    width = rows.dtype[name].itemsize
    text = rows[name].tobytes().decode("latin-1")
    return [text[at : at + width].rstrip() for at in range(0, len(text), width)]


def _padded(column: Packed) -> str:
    if column.kind.startswith("S"):
        # Half of what rpad costs.
        return f"{column.expression}::char({column.kind[1:]})"
    return column.expression
