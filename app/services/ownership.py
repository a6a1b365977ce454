"""Whose node it is, asked on every call of every node and never changing: remembered after the first look."""

from __future__ import annotations

from app.core.access import Principal
from app.services import nodes
from app.store.db import Database

_REMEMBERED = 200_000


class Ownership:
    """A node keeps its account for good (a wallet of another account is refused), so a yes stays true."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: set[tuple[str, str]] = set()

    async def check(self, principal: Principal, node_id: str) -> None:
        """Raises NotFound unless the node is the caller's."""
        pair = (principal.account, node_id)
        if pair in self._known:
            return
        await nodes.owned(self._db, principal, node_id)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known.add(pair)
