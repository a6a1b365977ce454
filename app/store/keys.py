"""API keys at rest: only their sha256 is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.store.db import UnitOfWork

_COLUMNS = "id, account, label, prefix, digest, scopes, created_at, revoked_at"


@dataclass(slots=True)
class KeyRow:
    """A key's row. ``digest``: sha256 of the secret in hex; ``prefix``: the secret's first characters."""

    id: str
    account: str
    label: str
    prefix: str
    digest: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None


async def add(uow: UnitOfWork, key: KeyRow) -> None:
    await uow.sql.execute(
        """INSERT INTO api_keys (id, account, label, prefix, digest, scopes) VALUES ($1, $2, $3, $4, $5, $6)""",
        key.id,
        key.account,
        key.label,
        key.prefix,
        key.digest,
        key.scopes,
    )


async def by_digest(uow: UnitOfWork, digest: str) -> KeyRow | None:
    """The live key with this sha256."""
    row = await uow.sql.fetchrow(f"SELECT {_COLUMNS} FROM api_keys WHERE digest = $1 AND revoked_at IS NULL", digest)
    return None if row is None else KeyRow(*row)


async def listing(uow: UnitOfWork) -> list[KeyRow]:
    """All keys, oldest first."""
    return [KeyRow(*row) for row in await uow.sql.fetch(f"SELECT {_COLUMNS} FROM api_keys ORDER BY id")]


async def revoke(uow: UnitOfWork, key_id: str) -> bool:
    """Whether a live key with this id was there to revoke."""
    found = await uow.sql.fetchval(
        "UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING id", key_id
    )
    return found is not None
