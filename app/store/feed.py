"""The feed: every event at a position of its own, without gaps, in an order that never changes.

Identities are given before transactions commit, so ``seq > cursor`` misses what commits late. The sequencer gives
positions only up to a ``seq`` below which everything is decided. It notes the highest ``seq`` given out and, after
that, takes a transaction id: once all transactions before that id are over, no event up to that ``seq`` can come any
more. Positions follow ``seq``, and with it the order of commits under a lock: a job's events stay in order, which they
would not by transaction id, for a transaction may have its id long before it gets the job's lock.

The note is a row (``MARK``) that counts once it is committed: after a crash of the server neither transaction ids nor
``seq`` begin again below what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.core.errors import Conflict
from app.store.db import UnitOfWork

SEQUENCER: Final = "sequencer"
MARK: Final = "sequencer:mark"
"""Its ``position`` is a ``seq``, its ``horizon`` the transaction id before which all must be over."""

SPAN: Final = 20_000
"""Positions that one read looks through at most when it leaves some out."""


@dataclass(frozen=True, slots=True)
class Sequenced:
    """What one look came to: positions ``given``; ``more``: as many as were asked for, there may be others;
    ``waiting``: events are committed that have to wait for transactions that are under way."""

    given: int
    more: bool
    waiting: bool


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """An event at its place. ``data``: what the outside sees, amounts as base units. ``plan_id``: the plan that it, or
    its job, is of, where that was asked for."""

    position: int
    id: str
    kind: str
    at: datetime
    account: str | None
    job_id: str | None
    node_id: str | None
    data: dict[str, Any]
    plan_id: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """``events`` after a position, ascending; all up to ``read_to`` have been looked at. ``latest``: the feed's end."""

    events: list[FeedEvent]
    read_to: int
    latest: int


@dataclass(frozen=True, slots=True)
class Lag:
    """``waiting``: committed events without a position, the oldest of which was written ``waiting_s`` ago.
    ``consumers``: name, position, and how far behind the feed's end ``latest`` it is."""

    latest: int
    waiting: int
    waiting_s: float
    consumers: list[tuple[str, int, int]]


async def sequence(uow: UnitOfWork, limit: int) -> Sequenced | None:
    """Give positions to up to ``limit`` events; None when another process is at it, or the feed has no row yet.

    The transaction must have written nothing before, or its id would be too old.
    """
    last_number = await uow.sql.fetchval(
        """SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('events', 'seq')::regclass), 0)
        WHERE pg_try_advisory_xact_lock(hashtextextended('hae_sequencer', 0))"""
    )
    if last_number is None:
        return None
    row = await uow.sql.fetchrow(
        """SELECT c.position, c.horizon, coalesce((SELECT e.seq FROM feed f
                JOIN events e ON e.id = f.event_id AND e.at = f.at WHERE f.position = c.position), 0),
            coalesce(m.position, 0), coalesce(m.horizon, 0), pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        FROM consumers c LEFT JOIN consumers m ON m.name = $2 WHERE c.name = $1""",
        SEQUENCER,
        MARK,
    )
    if row is None:
        return None
    position, horizon, last, marked, marked_until, following = row
    if horizon > following:
        await _begin_again(uow, following)
        return Sequenced(0, True, True)
    if await uow.sql.fetchval("SELECT seq FROM events WHERE seq > $1 ORDER BY seq LIMIT 1", last) is None:
        return Sequenced(0, False, False)
    # Only now, for the id must be later than the number: whoever has a number up to it has an id below this one.
    own, oldest = await _own_id(uow)
    decided = last_number if oldest == own else marked if marked_until <= oldest else 0
    given, last = await _give(uow, position, horizon, last, decided, limit) if decided > last else (0, last)
    more = given == limit
    # The lowest of those that wait is only needed where all others are done: it takes a look at each of them.
    first = None if more else await _first(uow, horizon, last)
    if given:
        # What transactions before ``oldest`` have written has been visible since then.
        moved = await uow.sql.execute(
            """UPDATE consumers SET position = position + $3, horizon = greatest(horizon, $4), updated_at = now()
            WHERE name = $1 AND position = $2""",
            SEQUENCER,
            position,
            given,
            horizon if more else oldest if first is None else min(oldest, first),
        )
        if moved != "UPDATE 1":
            raise Conflict("the feed has been moved by somebody else")
        uow.hints.feed = True
    waiting = first is not None and not more
    if waiting and marked <= max(last, decided):
        await uow.sql.execute(
            """INSERT INTO consumers (name, position, horizon) VALUES ($1, $2, $3) ON CONFLICT (name)
            DO UPDATE SET position = excluded.position, horizon = excluded.horizon, updated_at = now()""",
            MARK,
            last_number,
            own,
        )
    return Sequenced(given, more, waiting)


async def _first(uow: UnitOfWork, horizon: int, last: int) -> int | None:
    """The lowest id of a transaction that has written an event which has no position, None = there is none."""
    found: int | None = await uow.sql.fetchval(
        "SELECT written_in FROM events WHERE written_in >= $1 AND seq > $2 ORDER BY written_in, seq LIMIT 1",
        horizon,
        last,
    )
    return found


async def _own_id(uow: UnitOfWork) -> tuple[int, int]:
    """This transaction's id, the highest of all by now, and the lowest of those that are not over."""
    row = await uow.sql.fetchrow(
        "SELECT pg_current_xact_id()::text::bigint, pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    )
    assert row is not None
    return row[0], row[1]


async def _give(uow: UnitOfWork, position: int, horizon: int, last: int, decided: int, limit: int) -> tuple[int, int]:
    """Insert the positions; how many, and the ``seq`` of the last."""
    row = await uow.sql.fetchrow(
        """WITH new AS MATERIALIZED (SELECT id, at, account, seq FROM events
            WHERE written_in >= $2 AND seq > $3 AND seq <= $4 ORDER BY seq LIMIT $5),
        given AS (INSERT INTO feed (position, at, event_id, account)
            SELECT $1 + row_number() OVER (ORDER BY seq), at, id, account FROM new)
        SELECT count(*), coalesce(max(seq), $3) FROM new""",
        position,
        horizon,
        last,
        decided,
        limit,
    )
    assert row is not None
    return row[0], row[1]


async def _begin_again(uow: UnitOfWork, following: int) -> None:
    """Go on in a database that was restored from a dump: its server counts transactions from the beginning."""
    await uow.sql.execute("UPDATE events SET written_in = 0 WHERE written_in >= $1", following)
    await uow.sql.execute("UPDATE consumers SET horizon = 0 WHERE name = $1", SEQUENCER)
    await uow.sql.execute("DELETE FROM consumers WHERE name = $1", MARK)


_PLAN: Final = ", coalesce((SELECT j.plan_id FROM jobs j WHERE j.id = e.job_id), e.data ->> 'plan_id')"


async def read(
    uow: UnitOfWork,
    after: int,
    limit: int,
    *,
    account: str | None = None,
    kinds: Sequence[str] = (),
    with_plans: bool = False,
) -> Page:
    """Up to ``limit`` events with positions above ``after``. ``account``: only its own, None = all; ``kinds``: only
    these, of SPAN positions at most; none = all. ``with_plans``: tell the plans of their jobs, too, a look each."""
    latest = await end(uow)
    until = min(latest, after + SPAN) if kinds else latest
    rows = await uow.sql.fetch(
        f"""SELECT f.position, e.id, e.kind, e.at, e.account, e.job_id, e.node_id, e.data
            {_PLAN if with_plans else ""}
        FROM feed f JOIN events e ON e.id = f.event_id AND e.at = f.at
        WHERE f.position > $1 AND f.position <= $2 {"AND f.account = $4" if account is not None else ""}
            {"AND e.kind = ANY($5::text[])" if account is not None and kinds else ""}
            {"AND e.kind = ANY($4::text[])" if account is None and kinds else ""}
        ORDER BY f.position LIMIT $3""",
        after,
        until,
        limit,
        *([account] if account is not None else []),
        *([list(kinds)] if kinds else []),
    )
    found = [FeedEvent(*row) for row in rows]
    return Page(found, found[-1].position if len(found) == limit else max(after, until), latest)


async def end(uow: UnitOfWork) -> int:
    """The position of the last event, 0 before the first; all up to it can be seen."""
    found: int | None = await uow.sql.fetchval("SELECT position FROM consumers WHERE name = $1", SEQUENCER)
    return found or 0


async def bounds(uow: UnitOfWork) -> tuple[int, int]:
    """The first position there still is, or else the one that comes next, and the feed's end, of one moment."""
    row = await uow.sql.fetchrow(
        """SELECT coalesce((SELECT position FROM feed ORDER BY position LIMIT 1), c.position + 1), c.position
        FROM consumers c WHERE c.name = $1""",
        SEQUENCER,
    )
    return (1, 0) if row is None else (row[0], row[1])


async def ends(uow: UnitOfWork, accounts: Sequence[str]) -> dict[str, int]:
    """The last position of each account's events, of all events for the account ``""``: what readers wait for."""
    rows = await uow.sql.fetch(
        """SELECT asked.account, (SELECT position FROM feed WHERE account = asked.account
            ORDER BY position DESC LIMIT 1)
        FROM unnest($1::text[]) AS asked(account)""",
        [account for account in accounts if account],
    )
    found = {row[0]: row[1] for row in rows if row[1] is not None}
    return found | ({"": await end(uow)} if "" in accounts else {})


async def cursor(uow: UnitOfWork, name: str) -> int | None:
    """How far the consumer has come, None when it has never said."""
    found: int | None = await uow.sql.fetchval("SELECT position FROM consumers WHERE name = $1", name)
    return found


async def consumers(uow: UnitOfWork, prefix: str) -> set[str]:
    """The names of consumers that begin with ``prefix``."""
    rows = await uow.sql.fetch("SELECT name FROM consumers WHERE starts_with(name, $1)", prefix)
    return {row[0] for row in rows}


async def move_cursor(uow: UnitOfWork, name: str, position: int, *, back: bool = False) -> int:
    """Note that the consumer has come to ``position``; where it is now. It only goes back when ``back`` is set."""
    found: int = await uow.sql.fetchval(
        """INSERT INTO consumers AS c (name, position) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE
        SET position = CASE WHEN $3 THEN excluded.position ELSE greatest(c.position, excluded.position) END,
            updated_at = now()
        RETURNING position""",
        name,
        position,
        back,
    )
    return found


async def lag(uow: UnitOfWork, names: Sequence[str]) -> Lag:
    """How far behind the sequencer is, and the consumers of these names."""
    row = await uow.sql.fetchrow(
        f"SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0)::float8 {UNSEQUENCED}"
    )
    assert row is not None
    latest = await end(uow)
    rows = await uow.sql.fetch(
        "SELECT name, position, $2 - position FROM consumers WHERE name = ANY($1::text[]) ORDER BY name",
        list(names),
        latest,
    )
    return Lag(latest, row[0], row[1], [(one[0], one[1], one[2]) for one in rows])


WAITS: Final = """written_in >= (SELECT horizon FROM consumers WHERE name = 'sequencer')
    AND seq > coalesce((SELECT e.seq FROM consumers c JOIN feed f USING (position)
        JOIN events e ON e.id = f.event_id AND e.at = f.at WHERE c.name = 'sequencer'), 0)"""
"""Of an event that has no position yet: there is an index by ``seq``."""

UNSEQUENCED: Final = f"FROM events WHERE {WAITS}"
"""The events that have no position yet."""
