"""Read-only questions of a check of the whole database: jobs with all that is kept of them, in batches through a cursor
of one snapshot, and the ledgers, which the server adds up itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

from app.core.chain import ChainView
from app.core.jobs import Job
from app.core.states import JOB_FINAL, JOB_ON_NODE
from app.store import partitions
from app.store.chain import job_links
from app.store.db import UnitOfWork
from app.store.rows import JOB_COLUMNS, job_from

BATCH = 1_000
MOST = 1_000
"""Findings of one ledger that are told of at most."""

Finding = tuple[str, str]
"""``(id, detail)`` of what is wrong."""

_FINAL = ", ".join(f"'{state}'" for state in sorted(JOB_FINAL))
_ON_NODE = ", ".join(f"'{state}'" for state in sorted(JOB_ON_NODE))


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A row of a job's history."""

    source: str | None
    target: str
    attempt: int
    reason: str
    actor: str
    node_id: str | None
    at: datetime
    hash: bytes | None


@dataclass(frozen=True, slots=True)
class OfferRow:
    """An offer. ``holds``: whether it holds its slots."""

    id: str
    node_id: str
    attempt: int
    state: str
    holds: bool
    slots: int


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A report. ``late``: kept, and of no effect."""

    offer_id: str
    node_id: str
    attempt: int
    ok: bool
    late: bool


@dataclass(slots=True)
class JobRows:
    """A job and all that is kept of it. ``events``: how many of its events there are of each kind.

    ``chain``: what its account on chain says; ``chain_heard``: whether a signal waits that tells of it. ``paid``:
    whether a good payment of it is final. ``paid_out``: whether the engine has sent, or is to send, its payment.
    """

    job: Job
    history: list[HistoryRow] = field(default_factory=list)
    settlements: list[tuple[str, str]] = field(default_factory=list)
    offers: list[OfferRow] = field(default_factory=list)
    results: list[ResultRow] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    chain: ChainView | None = None
    chain_heard: bool = False
    paid: bool = False
    paid_out: bool = False

    @property
    def rows(self) -> int:
        """How many rows of the database were looked at; events count as one a kind."""
        return 1 + len(self.history) + len(self.settlements) + len(self.offers) + len(self.results) + len(self.events)


async def kept_since(uow: UnitOfWork, table: str) -> datetime | None:
    """The beginning of a table's oldest partition: what lies before may have been dropped. None without partitions."""
    mine = [one.begins_at for one in await partitions.existing(uow) if one.table == table]
    return min(mine, default=None)


async def expected(uow: UnitOfWork) -> int:
    """About how many jobs there are, from what is counted along."""
    count: int = await uow.sql.fetchval("SELECT greatest(0, coalesce(sum(change), 0))::int8 FROM job_counts")
    return count


async def jobs(uow: UnitOfWork, account: str | None, since: datetime | None) -> AsyncIterator[list[JobRows]]:
    """Every job, up to BATCH at a time by id, with what is kept of it. ``account``, ``since``: only those of the
    account, or submitted since then."""
    cursor = await uow.sql.cursor(
        f"""SELECT {JOB_COLUMNS} FROM jobs WHERE ($1::text IS NULL OR account = $1)
            AND ($2::timestamptz IS NULL OR created_at >= $2) ORDER BY id""",
        account,
        since,
    )
    while found := await cursor.fetch(BATCH):
        batch = {row[0]: JobRows(job_from(row)) for row in found}
        await _fill(uow, batch)
        yield list(batch.values())


async def _fill(uow: UnitOfWork, batch: dict[str, JobRows]) -> None:
    ids = list(batch)
    for row in await uow.sql.fetch(
        """SELECT job_id, from_state, to_state, attempt, reason, actor, node_id, at, hash FROM job_history
        WHERE job_id = ANY($1::text[]) ORDER BY job_id, seq""",
        ids,
    ):
        batch[row[0]].history.append(HistoryRow(*row[1:]))
    for row in await uow.sql.fetch(
        """SELECT job_id, from_state, to_state FROM settlement_history WHERE job_id = ANY($1::text[])
        ORDER BY job_id, seq""",
        ids,
    ):
        batch[row[0]].settlements.append((row[1], row[2]))
    for row in await uow.sql.fetch(
        """SELECT job_id, id, node_id, attempt, state, holds_slots, slots FROM offers WHERE job_id = ANY($1::text[])
        ORDER BY job_id, attempt""",
        ids,
    ):
        batch[row[0]].offers.append(OfferRow(*row[1:]))
    # By offer, which is the key: a report has no index by its job.
    jobs_of = {offer.id: job_id for job_id, rows in batch.items() for offer in rows.offers}
    for row in await uow.sql.fetch(
        "SELECT job_id, offer_id, node_id, attempt, ok, late FROM results WHERE offer_id = ANY($1::text[])",
        list(jobs_of),
    ):
        # One under another job's name is strays' to find.
        if jobs_of[row[1]] == row[0]:
            batch[row[0]].results.append(ResultRow(*row[1:]))
    for row in await uow.sql.fetch(
        "SELECT job_id, kind, count(*) FROM events WHERE job_id = ANY($1::text[]) GROUP BY job_id, kind", ids
    ):
        batch[row[0]].events[row[1]] = row[2]
    await _fill_chain(uow, batch)


async def _fill_chain(uow: UnitOfWork, batch: dict[str, JobRows]) -> None:
    linked = [rows.job.id for rows in batch.values() if rows.job.chain_job]
    if not linked:
        return
    for job_id, view in (await job_links.views(uow, linked)).items():
        batch[job_id].chain = view
    for row in await uow.sql.fetch(
        "SELECT DISTINCT job_id FROM signals WHERE job_id = ANY($1::text[]) AND kind LIKE 'chain%'", linked
    ):
        batch[row[0]].chain_heard = True
    for row in await uow.sql.fetch(
        """SELECT j.id FROM jobs j WHERE j.id = ANY($1::text[]) AND EXISTS (SELECT 1 FROM chain_payments p
            WHERE p.address = j.chain_job AND p.verdict = 'valid' AND p.commitment = 'finalized')""",
        linked,
    ):
        batch[row[0]].paid = True
    for row in await uow.sql.fetch(
        """SELECT job_id FROM chain_outgoing WHERE job_id = ANY($1::text[]) AND kind = 'settle_job'
            AND state <> 'failed'""",
        linked,
    ):
        batch[row[0]].paid_out = True


async def strays(uow: UnitOfWork) -> list[Finding]:
    """Rows of jobs that do not exist, and reports on offers that do not."""
    found: list[Finding] = []
    for table in ("job_history", "settlement_history", "offers", "results"):
        rows = await uow.sql.fetch(
            f"""SELECT t.job_id, count(*) FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = t.job_id)
            GROUP BY t.job_id ORDER BY t.job_id LIMIT $1""",
            MOST,
        )
        found += [(row[0], f"{row[1]} rows in {table}, and no such job") for row in rows]
    rows = await uow.sql.fetch(
        """SELECT r.job_id, r.offer_id FROM results r
        WHERE NOT EXISTS (SELECT 1 FROM offers o WHERE o.id = r.offer_id AND o.job_id = r.job_id) LIMIT $1""",
        MOST,
    )
    return found + [(row[0], f"a report on offer {row[1]}, which this job never had") for row in rows]


async def slots(uow: UnitOfWork) -> list[Finding]:
    """Nodes whose counter is not the sum of what offers hold on them, or more than they have."""
    rows = await uow.sql.fetch(
        """SELECT n.id, n.active_jobs, coalesce(held.slots, 0), n.capacity FROM nodes n LEFT JOIN (SELECT node_id,
            sum(slots) AS slots FROM offers WHERE holds_slots GROUP BY node_id) held ON held.node_id = n.id
        WHERE n.active_jobs <> coalesce(held.slots, 0) OR n.active_jobs NOT BETWEEN 0 AND n.capacity
        ORDER BY n.id LIMIT $1""",
        MOST,
    )
    return [(row[0], f"counts {row[1]} slots in use of {row[3]}, offers hold {row[2]}") for row in rows]


async def capacities(uow: UnitOfWork) -> list[Finding]:
    """Nodes that held more at some moment than they ever had.

    What happened on a node happened one transaction after another, under its lock: in the order of the histories'
    ``seq``. Rows of one transaction have the same time, and only what they come to counts.
    """
    rows = await uow.sql.fetch(
        f"""WITH held AS (SELECT o.node_id, o.slots, min(h.seq) FILTER (WHERE h.to_state = 'offered') AS taken,
                min(h.at) FILTER (WHERE h.to_state = 'offered') AS taken_at,
                min(h.seq) FILTER (WHERE h.to_state <> 'offered') AS freed,
                min(h.at) FILTER (WHERE h.to_state <> 'offered') AS freed_at
            FROM offers o JOIN job_history h ON h.job_id = o.job_id AND h.attempt = o.attempt
            WHERE h.to_state = 'offered' OR (h.from_state IN ({_ON_NODE}) AND h.to_state IN ('pending', {_FINAL}))
            GROUP BY o.id),
        steps AS (SELECT node_id, at, min(seq) AS seq, sum(change) AS change FROM (
                SELECT node_id, taken_at AS at, taken AS seq, slots AS change FROM held WHERE taken IS NOT NULL
                UNION ALL
                SELECT node_id, freed_at, freed, -slots FROM held WHERE taken IS NOT NULL AND freed IS NOT NULL) s
            GROUP BY node_id, at),
        running AS (SELECT node_id, at, sum(change) OVER (PARTITION BY node_id ORDER BY seq) AS slots FROM steps)
        SELECT DISTINCT ON (n.id) n.id, r.slots, greatest(n.capacity, n.capacity_max), r.at
        FROM running r JOIN nodes n ON n.id = r.node_id
        WHERE r.slots > greatest(n.capacity, n.capacity_max) ORDER BY n.id, r.slots DESC, r.at LIMIT $1""",
        MOST,
    )
    return [(row[0], f"held {row[1]} slots of {row[2]} at {row[3].isoformat()}") for row in rows]


async def counts(uow: UnitOfWork) -> list[Finding]:
    """States whose counted jobs, or slots, or cost are not what there is."""
    rows = await uow.sql.fetch(
        f"""WITH told AS (SELECT state, key_id, sum(change) AS jobs, sum(slots) AS slots, sum(paid) AS paid
            FROM job_counts GROUP BY state, key_id),
        there AS (SELECT state, CASE WHEN state IN ({_FINAL}) THEN '' ELSE key_id END AS key_id, count(*) AS jobs,
                sum(CASE WHEN state IN ({_ON_NODE}) THEN gpus ELSE 0 END) AS slots,
                sum(CASE WHEN state = 'completed' THEN cost ELSE 0 END) AS paid
            FROM jobs GROUP BY 1, 2)
        SELECT coalesce(told.state, there.state), coalesce(told.key_id, there.key_id), coalesce(told.jobs, 0),
            coalesce(there.jobs, 0), coalesce(told.slots, 0), coalesce(there.slots, 0), coalesce(told.paid, 0),
            coalesce(there.paid, 0)
        FROM told FULL JOIN there ON told.state = there.state AND told.key_id = there.key_id
        WHERE coalesce(told.jobs, 0) <> coalesce(there.jobs, 0) OR coalesce(told.slots, 0) <> coalesce(there.slots, 0)
            OR coalesce(told.paid, 0) <> coalesce(there.paid, 0)
        ORDER BY 1, 2 LIMIT $1""",
        MOST,
    )
    found = []
    for state, key_id, *figures in rows:
        told = zip(("jobs", "slots", "base units"), figures[::2], figures[1::2], strict=True)
        wrong = [f"{counted} {what} are counted, there are {real}" for what, counted, real in told if counted != real]
        found.append((f"{state} {key_id}".rstrip(), "; ".join(wrong)))
    return found


async def feed(uow: UnitOfWork) -> dict[str, list[Finding]]:
    """What is wrong with the feed, by check: positions missing, events told twice, of no event, not told of, and the
    sequencer's own word on where the feed ends."""
    since = await _whole_since(uow)
    gaps = await uow.sql.fetch(
        """SELECT position, before FROM (SELECT position, lag(position, 1, $2::int8) OVER (ORDER BY position) AS before
            FROM feed WHERE position >= $2) f WHERE position <> before + 1 AND position <> $2 LIMIT $1""",
        MOST,
        since,
    )
    twice = await uow.sql.fetch(
        "SELECT event_id, min(position), max(position) FROM feed GROUP BY event_id HAVING count(*) > 1 LIMIT $1", MOST
    )
    unknown = await uow.sql.fetch(
        """SELECT f.event_id, f.position FROM feed f
        WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.id = f.event_id AND e.at = f.at) LIMIT $1""",
        MOST,
    )
    untold = await uow.sql.fetch(
        """SELECT e.id, e.written_in FROM events e
        WHERE e.written_in < (SELECT horizon FROM consumers WHERE name = 'sequencer')
            AND NOT EXISTS (SELECT 1 FROM feed f WHERE f.event_id = e.id AND f.at = e.at) LIMIT $1""",
        MOST,
    )
    ends = await uow.sql.fetch(
        """SELECT c.position, f.last FROM consumers c, (SELECT max(position) AS last FROM feed) f
        WHERE c.name = 'sequencer' AND f.last > c.position"""
    )
    return {
        "feed_gap": [(str(row[0]), f"the position before it is {row[1]}") for row in gaps],
        "feed_twice": [(row[0], f"has the positions {row[1]} and {row[2]}") for row in twice],
        "feed_strange": [(row[0], f"position {row[1]} is of no event") for row in unknown],
        "feed_missed": [(row[0], f"was written in transaction {row[1]} and has no position") for row in untold],
        "feed_end": [("sequencer", f"ends at {row[0]}, the feed at {row[1]}") for row in ends],
    }


async def _whole_since(uow: UnitOfWork) -> int:
    """The position from which on the feed has to be whole: 1, unless its beginning was dropped.

    Events of a month's last moments may stand behind the first of the next, and go with their own month.
    """
    first: int | None = await uow.sql.fetchval("SELECT min(position) FROM feed")
    begins_at = await kept_since(uow, "feed")
    if first in (None, 1) or begins_at is None:
        return 1
    whole: int | None = await uow.sql.fetchval(
        "SELECT min(position) FROM feed WHERE at >= $1::timestamptz + interval '1 hour'", begins_at
    )
    return whole or first or 1
