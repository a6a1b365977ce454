"""Bulk inserts by COPY: several times cheaper than INSERT … unnest for both ends, within the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from app.store.db import UnitOfWork


async def copy_rows(uow: UnitOfWork, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert ``rows`` into ``table``; columns not named take their defaults. JSONB values are JSON text.

    COPY has no ON CONFLICT and no RETURNING: only for rows that are new by construction.
    """
    await uow.sql.copy_records_to_table(table, records=rows, columns=list(columns))
