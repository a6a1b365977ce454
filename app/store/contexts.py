"""In which contexts A2A clients want to find their tasks: rows of agents' hooks that nothing is ever sent to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from app.store.db import UnitOfWork
from app.store.rows import to_json

FORM: Final = "a2a_context"
"""``form`` of such a row."""
_ID: Final = "ctx_"
"""Before the task's id: the id of such a row."""


async def keep(uow: UnitOfWork, account: str, key_id: str, task_id: str, context_id: str) -> None:
    """Keep in which context a task is to be found; the first one counts."""
    await uow.sql.execute(
        """INSERT INTO agent_hooks (id, account, key_id, form, subject, url, secret, token, options, ended_at)
        VALUES ($1, $2, $3, $4, $5, '-', '', '', $6, now()) ON CONFLICT DO NOTHING""",
        _ID + task_id,
        account,
        key_id,
        FORM,
        task_id,
        to_json({"context_id": context_id}),
    )


async def of_tasks(uow: UnitOfWork, task_ids: Sequence[str]) -> dict[str, str]:
    """The contexts that were kept of these tasks, by task id."""
    rows = await uow.sql.fetch(
        "SELECT subject, options ->> 'context_id' FROM agent_hooks WHERE id = ANY($1::text[]) AND form = $2",
        [_ID + task_id for task_id in task_ids],
        FORM,
    )
    return {row[0]: row[1] for row in rows}


async def page(uow: UnitOfWork, account: str, context_id: str, before: str, limit: int) -> list[str]:
    """Ids of the account's tasks that were put into this context, newest first; ``before``: only those whose ids end
    below it, behind their prefix, empty = all."""
    rows = await uow.sql.fetch(
        """SELECT subject FROM agent_hooks WHERE account = $1 AND form = $2 AND options ->> 'context_id' = $3
            AND ($4 = '' OR split_part(subject, '_', 2) < $4)
        ORDER BY split_part(subject, '_', 2) DESC LIMIT $5""",
        account,
        FORM,
        context_id,
        before,
        limit,
    )
    return [row[0] for row in rows]


async def count(uow: UnitOfWork, account: str, context_id: str) -> int:
    """How many tasks the account has put into this context."""
    found: int = await uow.sql.fetchval(
        "SELECT count(*) FROM agent_hooks WHERE account = $1 AND form = $2 AND options ->> 'context_id' = $3",
        account,
        FORM,
        context_id,
    )
    return found
