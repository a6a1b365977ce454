"""API keys at rest: only their sha256 is kept."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import col, select

from app.store.db import UnitOfWork
from app.store.tables import ApiKey


async def add(uow: UnitOfWork, key: ApiKey) -> None:
    uow.session.add(key)
    await uow.session.flush()


async def by_digest(uow: UnitOfWork, digest: str) -> ApiKey | None:
    """The live key with this sha256."""
    found = await uow.session.exec(select(ApiKey).where(ApiKey.digest == digest, col(ApiKey.revoked_at).is_(None)))
    return found.first()


async def listing(uow: UnitOfWork) -> Sequence[ApiKey]:
    return (await uow.session.exec(select(ApiKey).order_by(col(ApiKey.id)))).all()


async def revoke(uow: UnitOfWork, key_id: str) -> bool:
    """Whether a live key with this id was there to revoke."""
    key = await uow.session.get(ApiKey, key_id)
    if key is None or key.revoked_at is not None:
        return False
    key.revoked_at = uow.now
    await uow.session.flush()
    return True
