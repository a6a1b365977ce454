"""History of settlements: written by the transaction of the move, as all history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.core.jobs import SettlementMove
from app.store.copying import copy_rows
from app.store.db import UnitOfWork


async def add_history(uow: UnitOfWork, moves: Sequence[SettlementMove]) -> None:
    """Insert one row a move, in the given order."""
    if not moves:
        return
    await copy_rows(
        uow,
        "settlement_history",
        ("job_id", "from_state", "to_state", "reason", "actor"),
        [(move.job_id, move.source.value, move.target.value, str(move.reason), move.actor) for move in moves],
    )


async def history(uow: UnitOfWork, job_id: str) -> list[dict[str, Any]]:
    """The moves of a job's settlement since it awaited its payment, oldest first."""
    rows = await uow.sql.fetch(
        "SELECT from_state, to_state, reason, actor, at FROM settlement_history WHERE job_id = $1 ORDER BY seq", job_id
    )
    return [dict(row) for row in rows]
