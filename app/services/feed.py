"""Use cases of those who follow the feed: pages of it, and cursors that the engine keeps for them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.core.access import Principal
from app.core.errors import Conflict, Gone, InvalidInput, NotFound
from app.store import feed
from app.store.db import Database
from app.store.deliveries import CONSUMER
from app.store.feed import Lag, Page

BATCH = 5_000
"""Events that get their positions in one transaction at most."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")
CONSUMERS = 64
"""Cursors that an account may have."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a consumer has come, and where the feed ends."""

    name: str
    position: int
    latest: int


async def sequence(db: Database, limit: int = BATCH) -> feed.Sequenced | None:
    """Give positions to committed events, ``limit`` at most. None when another process is at it."""
    async with db.unit() as uow:
        return await feed.sequence(uow, limit)


async def page(db: Database, principal: Principal, after: int, limit: int, kinds: Sequence[str] = ()) -> Page:
    """Events that the caller may see, with positions above ``after``."""
    async with db.unit() as uow:
        return await feed.read(uow, after, limit, account=principal.sees, kinds=kinds, with_plans=True)


async def page_of_all(db: Database, after: int, limit: int) -> Page:
    """Events of all accounts with positions above ``after``: for who sorts them out before anyone sees them."""
    async with db.unit() as uow:
        return await feed.read(uow, after, limit, with_plans=True)


async def start(db: Database, after: int | None) -> int:
    """The position after which a reader goes on that has come to ``after``; None = from the first event that is kept.

    Raises Gone (``cursor_expired``) when events after it are not kept any more, InvalidInput when the feed has not come
    that far.
    """
    async with db.unit() as uow:
        first, end = await feed.bounds(uow)
    if after is None:
        return first - 1
    if after < first - 1:
        raise Gone(
            f"events up to position {first - 1} are no longer kept",
            code="cursor_expired",
            next_action=f"Go on with after={first - 1}, and read the states of jobs for what was missed.",
        )
    if after > end:
        raise InvalidInput(f"the feed ends at position {end}", field="after")
    return after


async def latest(db: Database) -> int:
    """The position of the last event."""
    async with db.unit() as uow:
        return await feed.end(uow)


async def ends(db: Database, accounts: Sequence[str]) -> dict[str, int]:
    """The last position of each account's events, of all events for the account ``""``: what readers wait for."""
    async with db.unit() as uow:
        return await feed.ends(uow, accounts)


async def cursor(db: Database, principal: Principal, name: str) -> Cursor:
    """Where the caller's consumer is. Raises NotFound when it has never said, InvalidInput when it cannot be a name."""
    async with db.unit() as uow:
        found = await feed.cursor(uow, _row_name(principal, name))
        if found is None:
            raise NotFound(
                f"no consumer of this account is called {name[:60]}",
                code="no_such_consumer",
                next_action="Make it with PUT /v1/events/consumers/{name}.",
            )
        return Cursor(name, found, await feed.end(uow))


async def move_cursor(db: Database, principal: Principal, name: str, position: int, *, force: bool = False) -> Cursor:
    """Note that the caller's consumer has dealt with all up to ``position``. It only goes back with ``force``: of two
    that move it at once, the further one wins.

    Raises InvalidInput for a position that no event has yet or what cannot be a name, Conflict for one consumer too
    many.
    """
    row_name = _row_name(principal, name)
    async with db.unit() as uow:
        end = await feed.end(uow)
        if position > end:
            raise InvalidInput(f"the feed ends at position {end}", field="position")
        # Only a new name is counted: the others are moved all the time.
        new = await feed.cursor(uow, row_name) is None
        if new and len(await feed.consumers(uow, _prefix(principal))) >= CONSUMERS:
            raise Conflict(
                f"this account has {CONSUMERS} consumers, the most there can be",
                code="too_many_consumers",
                next_action="Use one of their names again.",
            )
        return Cursor(name, await feed.move_cursor(uow, row_name, position, back=force), end)


async def lag(db: Database) -> Lag:
    """How far behind the sequencer and the webhooks are."""
    async with db.unit() as uow:
        return await feed.lag(uow, [CONSUMER])


def _row_name(principal: Principal, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput("a name has 1 to 40 letters, digits, dots, dashes and underscores", field="name")
    return _prefix(principal) + name


def _prefix(principal: Principal) -> str:
    # Accounts are free text, too long to stand here as they are.
    return f"{hashlib.sha256(principal.account.encode()).hexdigest()[:32]}/"
