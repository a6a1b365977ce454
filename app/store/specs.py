"""The specs table: what a job is to do, by the hash that a job on chain carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.store.db import UnitOfWork
from app.store.rows import to_json


@dataclass(frozen=True, slots=True)
class SpecRow:
    """A stored spec. ``key_id``: the key that stored it first. ``body``: as app/services/specs.py makes it."""

    hash: str
    account: str
    key_id: str
    body: dict[str, Any]
    created_at: datetime


async def put(uow: UnitOfWork, spec_hash: str, account: str, key_id: str, body: dict[str, Any]) -> bool:
    """Store a spec. False when it is there already: the first one to store it stays its owner."""
    stored = await uow.sql.fetchval(
        """INSERT INTO specs (hash, account, key_id, body) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING RETURNING hash""",
        spec_hash,
        account,
        key_id,
        to_json(body),
    )
    return stored is not None


async def known(uow: UnitOfWork, hashes: Sequence[str], account: str | None = None) -> list[SpecRow]:
    """The specs of these hashes that there are; of ``account`` only, unless None."""
    rows = await uow.sql.fetch(
        """SELECT hash, account, key_id, body, created_at FROM specs
        WHERE hash = ANY($1::text[]) AND ($2::text IS NULL OR account = $2)""",
        hashes,
        account,
    )
    return [SpecRow(*row) for row in rows]
