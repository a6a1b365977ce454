"""What must hold in the database after every committed transaction, whatever happened before it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from app.core.chaining import link
from app.core.events import JOB_EVENT
from app.core.lifecycle import SETTLEMENT_EVENT, next_settlement
from app.core.states import (
    JOB_FINAL,
    JOB_MOVES,
    JOB_ON_NODE,
    NODE_MOVES,
    SETTLEMENT_MOVES,
    JobState,
    NodeState,
    Settlement,
)
from app.services.views import ViewKeeper
from app.store.chain import job_links
from app.store.db import Database, UnitOfWork
from app.store.rows import NODE_COLUMNS, node_from

TIMER_OF = {"open": "expires_at", "accepted": "decided_at + make_interval(secs => j.timeout_s)"}


async def check(db: Database, *views: ViewKeeper) -> None:
    """Raise AssertionError on the first thing that does not hold. Nothing else may be writing."""
    async with db.unit() as uow:
        await check_histories(uow)
        await check_settlements(uow)
        await check_counts(uow)
        await check_slots(uow)
        await check_nobody_stranded(uow)
        await check_events(uow)
        await check_nothing_doubled(uow)
    for view in views:
        await check_view(db, view)


async def check_histories(uow: UnitOfWork) -> None:
    """Every move is one of the table, follows on the one before, and its attempt never falls."""
    last: dict[str, tuple[str, int]] = {}
    for job_id, source, target, attempt in await _rows(
        uow, "SELECT job_id, from_state, to_state, attempt FROM job_history ORDER BY seq"
    ):
        if job_id not in last:
            assert (source, attempt) == (None, 1), f"{job_id} began {source} → {target}"
            assert target in ("pending", "scheduled"), f"{job_id} began as {target}"
        else:
            before, before_attempt = last[job_id]
            assert source == before, f"{job_id} was {before}, then left {source}"
            assert JobState(target) in JOB_MOVES[JobState(source)], f"{job_id} moved {source} → {target}"
            assert before_attempt <= attempt <= before_attempt + 1, f"{job_id}: {before_attempt} → {attempt}"
        last[job_id] = (target, attempt)
    for job_id, state, attempt in await _rows(uow, "SELECT id, state, attempt FROM jobs"):
        told, told_attempt = last.pop(job_id)
        assert told == state, f"{job_id} is {state}, its history says {told}"
        assert attempt == told_attempt + (state == "pending" and attempt > 1)
    assert not last, "history of jobs that do not exist"
    await check_chains(uow)
    standing: dict[str, str] = {}
    for node_id, source, target in await _rows(
        uow, "SELECT node_id, from_state, to_state FROM node_history ORDER BY id"
    ):
        assert source == standing.get(node_id)
        assert source is None or NodeState(target) in NODE_MOVES[NodeState(source)], f"{source} → {target}"
        standing[node_id] = target
    assert standing == dict(await _rows(uow, "SELECT id, state FROM nodes"))


async def check_chains(uow: UnitOfWork) -> None:
    """Each row's hash follows from the row and the one before; each job holds its last."""
    heads: dict[str, bytes] = {}
    for digest, job_id, *rest in await _rows(
        uow,
        """SELECT hash, job_id, from_state, to_state, attempt, reason, actor, node_id, at FROM job_history
        ORDER BY seq""",
    ):
        assert digest == link(heads.get(job_id), job_id, *rest), f"a row of {job_id} was not written by its move"
        heads[job_id] = digest
    assert heads == dict(await _rows(uow, "SELECT id, history_head FROM jobs"))


async def check_counts(uow: UnitOfWork) -> None:
    """What is counted along with the moves is what there is."""
    told = await _rows(
        uow,
        """SELECT state, sum(change), sum(run_ms), sum(paid) FROM job_counts GROUP BY state HAVING sum(change) <> 0
        ORDER BY state""",
    )
    there = await _rows(
        uow,
        """SELECT state, count(*), sum(CASE WHEN state = 'completed' THEN greatest(0,
                floor(extract(epoch FROM finished_at - assigned_at) * 1000)) ELSE 0 END),
            sum(CASE WHEN state = 'completed' THEN cost ELSE 0 END) FROM jobs GROUP BY state ORDER BY state""",
    )
    assert [row[:2] for row in told] == [row[:2] for row in there]
    assert [row[3] for row in told] == [row[3] for row in there]
    # A float's rounding of the milliseconds may differ by one a job.
    assert all(abs(one[2] - other[2]) <= one[1] for one, other in zip(told, there, strict=True))


async def check_settlements(uow: UnitOfWork) -> None:
    """Every move of a settlement is one of the table and follows on the one before; no payment is overlooked."""
    last: dict[str, str] = {}
    for job_id, source, target in await _rows(
        uow, "SELECT job_id, from_state, to_state FROM settlement_history ORDER BY seq"
    ):
        assert source == last.get(job_id, "awaiting"), f"{job_id} left {source}"
        assert Settlement(target) in SETTLEMENT_MOVES[Settlement(source)], f"{job_id} moved {source} → {target}"
        last[job_id] = target
    settlements = {row[0]: row[1:] for row in await _rows(uow, "SELECT id, state, settlement FROM jobs")}
    for job_id, (state, settlement) in settlements.items():
        first = "awaiting" if state == "completed" else "none"
        assert settlement == last.pop(job_id, first), f"{job_id} is {state} and {settlement}"
    assert not last, "settlements of jobs that do not exist"
    heard = {row[0] for row in await _rows(uow, "SELECT job_id FROM signals WHERE kind LIKE 'chain%'")}
    for job_id, view in (await job_links.views(uow, list(settlements))).items():
        due = next_settlement(Settlement(settlements[job_id][1]), view)
        assert due is None or job_id in heard, f"{job_id} should be {due} and nobody will look at it"


async def check_slots(uow: UnitOfWork) -> None:
    """Nodes count what offers hold; only jobs on a node hold something, once."""
    wrong = await _rows(
        uow,
        """SELECT n.id, n.active_jobs, n.capacity, coalesce(sum(o.slots), 0) FROM nodes n
        LEFT JOIN offers o ON o.node_id = n.id AND o.holds_slots GROUP BY n.id
        HAVING n.active_jobs <> coalesce(sum(o.slots), 0) OR n.active_jobs NOT BETWEEN 0 AND n.capacity""",
    )
    assert not wrong, f"slots do not add up: {wrong}"
    held = await _rows(
        uow,
        "SELECT j.id, j.state, j.offer_id, o.id FROM jobs j LEFT JOIN offers o ON o.job_id = j.id AND o.holds_slots",
    )
    assert len({row[0] for row in held}) == len(held), "a job holds two nodes"
    for job_id, state, offer_id, held_offer in held:
        on_node = JobState(state) in JOB_ON_NODE
        assert (held_offer is not None) is on_node, f"{job_id} is {state} and holds {held_offer}"
        assert not on_node or offer_id == held_offer


async def check_nobody_stranded(uow: UnitOfWork) -> None:
    """Every job that is not over has a signal waiting, no earlier than what it waits for runs out."""
    final = sorted(JOB_FINAL)
    for job_id, state, offer_state, until, last in await _rows(
        uow,
        f"""SELECT j.id, j.state, o.state, CASE j.state WHEN 'cancelling' THEN j.cancel_by
                WHEN 'scheduled' THEN j.start_at WHEN 'pending' THEN j.not_before
                ELSE least(j.deadline_at, CASE o.state WHEN 'open' THEN o.{TIMER_OF["open"]}
                    WHEN 'accepted' THEN o.{TIMER_OF["accepted"]} END) END,
            (SELECT max(due_at) FROM signals s WHERE s.job_id = j.id AND parked_at IS NULL)
        FROM jobs j LEFT JOIN offers o ON o.job_id = j.id AND o.holds_slots
        WHERE NOT j.state = ANY($1::text[])""",
        final,
    ):
        assert last is not None, f"{job_id} is {state} and nobody will look at it again"
        if state == "offered" and offer_state != "open":
            # Answered: the answer's own signal waits, and sets the next timer.
            continue
        assert until is None or last >= until, f"{job_id} is {state} until {until}, the last look is at {last}"
    forgotten = await _rows(
        uow,
        """SELECT o.job_id, o.state, n.state FROM offers o JOIN nodes n ON n.id = o.node_id
        WHERE o.holds_slots AND (n.state = 'offline' OR (n.state = 'draining' AND o.state = 'open'))
            AND NOT EXISTS (SELECT 1 FROM signals s WHERE s.job_id = o.job_id AND s.due_at <= now())""",
    )
    assert not forgotten, f"jobs on nodes that are gone, and nobody looks: {forgotten}"


async def check_events(uow: UnitOfWork) -> None:
    """One event a move; the feed has each event that the sequencer has come by, once and without a gap."""
    moves = Counter(
        (row[0], _told_as(row[1], row[2]))
        for row in await _rows(uow, "SELECT job_id, from_state, to_state FROM job_history")
    )
    moves += Counter(
        (row[0], SETTLEMENT_EVENT[Settlement(row[1])].value)
        for row in await _rows(uow, "SELECT job_id, to_state FROM settlement_history")
    )
    told = Counter(
        (row[0], row[1])
        for row in await _rows(
            uow,
            """SELECT job_id, kind FROM events WHERE job_id IS NOT NULL
                AND kind NOT IN ('job_progress', 'job_linked', 'operator_mismatch')""",
        )
    )
    assert moves == told, f"moves and events differ: {(moves - told) or (told - moves)}"
    positions = [row[0] for row in await _rows(uow, "SELECT position FROM feed ORDER BY position")]
    assert positions == list(range(1, len(positions) + 1)), "the feed has gaps"
    unknown = await _rows(
        uow, "SELECT f.event_id FROM feed f LEFT JOIN events e ON e.id = f.event_id WHERE e.at IS DISTINCT FROM f.at"
    )
    assert not unknown, f"the feed tells of events that are not there: {unknown}"
    assert await _rows(uow, "SELECT event_id FROM feed GROUP BY event_id HAVING count(*) > 1") == []


def _told_as(source: str | None, target: str) -> str:
    if source is None:
        return "job_submitted"
    return "job_released" if source == "scheduled" and target == "pending" else JOB_EVENT[JobState(target)].value


async def check_nothing_doubled(uow: UnitOfWork) -> None:
    """A completed job has its one good result, is priced and counted once; so is every lost run."""
    for job_id, state, ok, cost in await _rows(
        uow,
        """SELECT j.id, j.state, r.ok, j.cost FROM jobs j
        LEFT JOIN results r ON r.offer_id = j.offer_id AND NOT r.late WHERE j.finished_at IS NOT NULL""",
    ):
        completed = state == "completed"
        assert bool(ok) is completed, f"{job_id} is {state} with result {ok}"
        assert (cost is not None) is completed
    counted = await _rows(uow, "SELECT coalesce(sum(jobs_completed), 0), coalesce(sum(jobs_failed), 0) FROM nodes")
    ended = await _rows(uow, "SELECT count(*) FILTER (WHERE state = 'completed'), coalesce(sum(failures), 0) FROM jobs")
    assert counted == ended, f"nodes count {counted}, jobs {ended}"
    unexplained = await _rows(
        uow,
        """SELECT o.job_id FROM offers o LEFT JOIN match_decisions d USING (job_id, attempt)
        WHERE d.node_id IS DISTINCT FROM o.node_id""",
    )
    assert not unexplained, f"offers without their explanation: {unexplained}"


async def check_view(db: Database, keeper: ViewKeeper) -> None:
    """Once refreshed, the view holds exactly the rows."""
    await keeper.refresh()
    async with db.unit() as uow:
        rows = [node_from(row) for row in await uow.sql.fetch(f"SELECT {NODE_COLUMNS} FROM nodes")]
    view = keeper.matchmaker.view
    assert len(view) == len(rows)
    for row in rows:
        assert view.get(row.id) == row


async def _rows(uow: UnitOfWork, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in await uow.sql.fetch(statement, *values)]
