"""How indexing gets on, asked often and cheaply: for benchmarks and tests."""

from __future__ import annotations

from app.store.db import UnitOfWork


async def begun(uow: UnitOfWork) -> bool:
    """Whether anything was listed yet."""
    found: bool = await uow.sql.fetchval("SELECT EXISTS (SELECT FROM chain_pages) OR EXISTS (SELECT FROM chain_events)")
    return found


async def newest(uow: UnitOfWork) -> int:
    """The number of the newest event: at least as many as there are, more where a transaction was rolled back."""
    found: int = await uow.sql.fetchval("SELECT coalesce(max(id), 0) FROM chain_events")
    return found


async def count(uow: UnitOfWork) -> int:
    """How many events there are, by counting them."""
    found: int = await uow.sql.fetchval("SELECT count(*) FROM chain_events")
    return found


async def after(uow: UnitOfWork, number: int) -> tuple[list[str], int]:
    """The transactions of events newer than ``number``, and the newest of them."""
    rows = await uow.sql.fetch("SELECT id, signature FROM chain_events WHERE id > $1 ORDER BY id", number)
    return [row[1] for row in rows], rows[-1][0] if rows else number
