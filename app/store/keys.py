"""API keys at rest: only their sha256 is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.core.access import Rights
from app.store.db import UnitOfWork

_COLUMNS = (
    "id, account, label, prefix, digest, scopes, created_at, revoked_at, weight, max_active, max_queued, tools, "
    "job_types, cap_day, cap_job"
)


@dataclass(slots=True)
class KeyRow:
    """A key's row. ``digest``: sha256 of the secret in hex; ``prefix``: the secret's first characters.

    ``weight``: its share against other keys, 1..1000. ``max_active``: slots that its jobs may hold at once,
    ``max_queued``: jobs that may wait; 0 = any number, None = as the settings say. ``tools``, ``job_types``,
    ``cap_day``, ``cap_job``: as in Rights.
    """

    id: str
    account: str
    label: str
    prefix: str
    digest: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None
    weight: int = 1
    max_active: int | None = None
    max_queued: int | None = None
    tools: list[str] = field(default_factory=list)
    job_types: list[str] = field(default_factory=list)
    cap_day: int | None = None
    cap_job: int | None = None

    @property
    def rights(self) -> Rights:
        """What it may do within its scopes."""
        return Rights(frozenset(self.tools), frozenset(self.job_types), self.cap_day, self.cap_job)


async def add(uow: UnitOfWork, key: KeyRow) -> None:
    await uow.sql.execute(
        """INSERT INTO api_keys (id, account, label, prefix, digest, scopes, weight, max_active, max_queued, tools,
            job_types, cap_day, cap_job)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)""",
        key.id,
        key.account,
        key.label,
        key.prefix,
        key.digest,
        key.scopes,
        key.weight,
        key.max_active,
        key.max_queued,
        key.tools,
        key.job_types,
        key.cap_day,
        key.cap_job,
    )


async def by_digest(uow: UnitOfWork, digest: str) -> KeyRow | None:
    """The live key with this sha256."""
    row = await uow.sql.fetchrow(f"SELECT {_COLUMNS} FROM api_keys WHERE digest = $1 AND revoked_at IS NULL", digest)
    return None if row is None else KeyRow(*row)


async def by_ids(uow: UnitOfWork, key_ids: Sequence[str]) -> list[KeyRow]:
    """The keys of ``key_ids`` that exist, revoked ones too: their jobs go on."""
    rows = await uow.sql.fetch(f"SELECT {_COLUMNS} FROM api_keys WHERE id = ANY($1::text[])", key_ids)
    return [KeyRow(*row) for row in rows]


async def listing(uow: UnitOfWork) -> list[KeyRow]:
    """All keys, oldest first."""
    return [KeyRow(*row) for row in await uow.sql.fetch(f"SELECT {_COLUMNS} FROM api_keys ORDER BY id")]


async def set_share(uow: UnitOfWork, key_id: str, weight: int, max_active: int | None, max_queued: int | None) -> bool:
    """Set a live key's weight and quotas; whether there was one."""
    found = await uow.sql.fetchval(
        """UPDATE api_keys SET weight = $2, max_active = $3, max_queued = $4
        WHERE id = $1 AND revoked_at IS NULL RETURNING id""",
        key_id,
        weight,
        max_active,
        max_queued,
    )
    return found is not None


async def set_rights(uow: UnitOfWork, key_id: str, rights: Rights) -> bool:
    """Set what a live key may do within its scopes; whether there was one."""
    found = await uow.sql.fetchval(
        """UPDATE api_keys SET tools = $2, job_types = $3, cap_day = $4, cap_job = $5
        WHERE id = $1 AND revoked_at IS NULL RETURNING id""",
        key_id,
        sorted(rights.tools),
        sorted(rights.job_types),
        rights.cap_day,
        rights.cap_job,
    )
    return found is not None


async def lock(uow: UnitOfWork, key_id: str) -> KeyRow | None:
    """The live key with this id, locked against other changes."""
    row = await uow.sql.fetchrow(
        f"SELECT {_COLUMNS} FROM api_keys WHERE id = $1 AND revoked_at IS NULL FOR NO KEY UPDATE", key_id
    )
    return None if row is None else KeyRow(*row)


async def revoke(uow: UnitOfWork, key_id: str) -> bool:
    """Whether a live key with this id was there to revoke."""
    found = await uow.sql.fetchval(
        "UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING id", key_id
    )
    return found is not None
