"""The plans, their units and their history: insert, lock, guarded moves, reads. Signals are in plan_signals.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from app.core.errors import Conflict
from app.core.plan_work import PlanJob, PlanMove
from app.core.plans import Plan, PlanState, Unit, UnitState
from app.core.states import JobState
from app.store.copying import copy_rows
from app.store.db import UnitOfWork
from app.store.rows import to_json

COLUMNS: Final = (
    "id, account, key_id, name, state, reason, version, NULL::jsonb, budget, spent, reserved, cancel_requested, error, "
    "created_at, deadline_at, finished_at, held"
)
_UNIT_COLUMNS: Final = "number, task_id, item, state, job_ids, bid, tries, winner, excluded, not_before, error"


def _plan(row: Any) -> Plan:
    values = list(row.values())
    values[4] = PlanState(values[4])
    return Plan(*values)


def _unit(values: Sequence[Any]) -> Unit:
    number, task_id, item, state, job_ids, bid, tries, winner, excluded, not_before, error = values
    return Unit(
        number, task_id, item, UnitState(state), list(job_ids), bid, tries, winner, list(excluded), not_before, error
    )


async def insert(uow: UnitOfWork, plan: Plan) -> None:
    """Insert a plan. Its id must be new."""
    await uow.sql.execute(
        """INSERT INTO plans (id, account, key_id, name, state, reason, request, budget, deadline_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
        plan.id,
        plan.account,
        plan.key_id,
        plan.name,
        plan.state.value,
        plan.reason,
        to_json(plan.request),
        plan.budget,
        plan.deadline_at,
    )


async def insert_units(uow: UnitOfWork, plan_id: str, units: Sequence[Unit]) -> None:
    """Insert a plan's units."""
    await copy_rows(
        uow,
        "plan_units",
        ("plan_id", "number", "task_id", "item", "state", "bid"),
        [(plan_id, unit.number, unit.task_id, unit.item, unit.state.value, unit.bid) for unit in units],
    )


async def lock(uow: UnitOfWork, ids: Iterable[str]) -> list[Plan]:
    """The plans of ``ids`` in id order, locked until the transaction ends; those another transaction holds are left
    out."""
    rows = await uow.sql.fetch(
        f"SELECT {COLUMNS} FROM plans WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
        sorted(set(ids)),
    )
    return [_plan(row) for row in rows]


async def lock_one(uow: UnitOfWork, plan_id: str) -> Plan | None:
    """The plan, locked until the transaction ends, waiting for whoever holds it."""
    row = await uow.sql.fetchrow(f"SELECT {COLUMNS} FROM plans WHERE id = $1 FOR NO KEY UPDATE", plan_id)
    return None if row is None else _plan(row)


async def units(uow: UnitOfWork, plan_ids: Sequence[str]) -> dict[str, list[Unit]]:
    """The units of these plans, each plan's in order."""
    rows = await uow.sql.fetch(
        f"SELECT plan_id, {_UNIT_COLUMNS} FROM plan_units WHERE plan_id = ANY($1::text[]) ORDER BY plan_id, number",
        plan_ids,
    )
    found: dict[str, list[Unit]] = {plan_id: [] for plan_id in plan_ids}
    for row in rows:
        plan_id, *values = row
        found[plan_id].append(_unit(values))
    return found


async def jobs(uow: UnitOfWork, plan_ids: Sequence[str]) -> dict[str, dict[str, PlanJob]]:
    """All jobs of these plans by id, as of one moment: what they cost and may cost adds up."""
    rows = await uow.sql.fetch(
        """SELECT plan_id, id, plan_unit, state, reason, cost, coalesce(max_cost, 0), node_id, excluded, error,
            finished_at IS NULL AND EXISTS
                (SELECT FROM signals s WHERE s.job_id = jobs.id AND s.parked_at IS NOT NULL)
        FROM jobs WHERE plan_id = ANY($1::text[]) ORDER BY id""",
        plan_ids,
    )
    found: dict[str, dict[str, PlanJob]] = {plan_id: {} for plan_id in plan_ids}
    for plan_id, job_id, number, state, *rest in rows:
        found[plan_id][job_id] = PlanJob(job_id, number, JobState(state), *rest)
    return found


_RESULTS: Final = """jobs j JOIN results r ON r.offer_id = j.offer_id AND r.ok AND NOT r.late
    WHERE j.id = ANY($1::text[]) AND j.state = 'completed'"""


async def results(uow: UnitOfWork, job_ids: Sequence[str], most: int | None = None) -> dict[str, Any]:
    """The results of completed jobs, by job id; without those of more than ``most`` bytes of JSON."""
    if not job_ids:
        return {}
    rows = await uow.sql.fetch(
        f"SELECT j.id, r.body FROM {_RESULTS} AND ($2::int IS NULL OR octet_length(r.body::text) <= $2)", job_ids, most
    )
    return {row[0]: row[1] for row in rows}


async def results_size(uow: UnitOfWork, job_ids: Sequence[str]) -> int:
    """Bytes of JSON that the results of these jobs come to."""
    if not job_ids:
        return 0
    size = await uow.sql.fetchval(f"SELECT coalesce(sum(octet_length(r.body::text)), 0) FROM {_RESULTS}", job_ids)
    return int(size)


async def save(uow: UnitOfWork, plan: Plan, spent: int, reserved: int, *, over: bool) -> None:
    """Write what a wave made of a plan, guarded by the version that it read. Raises Conflict when that is not its own
    any more: the row is locked by the wave, so that means a bug elsewhere."""
    written = await uow.sql.execute(
        """UPDATE plans SET state = $3, reason = $4, version = version + 1, spent = $5, reserved = $6, error = $7,
            finished_at = CASE WHEN $8 THEN coalesce(finished_at, now()) END, held = $9
        WHERE id = $1 AND version = $2""",
        plan.id,
        plan.version,
        plan.state.value,
        plan.reason,
        spent,
        reserved,
        plan.error,
        over,
        plan.held,
    )
    if written != "UPDATE 1":
        raise Conflict(f"plan {plan.id} was changed beside its wave", code="lost_race")


async def save_units(uow: UnitOfWork, plan_id: str, changed: Sequence[Unit]) -> None:
    """Write a plan's changed units; the plan's lock keeps others from them."""
    if not changed:
        return
    rows = [
        {
            "number": unit.number,
            "state": unit.state,
            "job_ids": unit.job_ids,
            "bid": unit.bid,
            "tries": unit.tries,
            "winner": unit.winner,
            "excluded": unit.excluded,
            "not_before": unit.not_before,
            "error": unit.error,
        }
        for unit in changed
    ]
    await uow.sql.execute(
        """UPDATE plan_units SET state = u.state, job_ids = u.job_ids, bid = u.bid, tries = u.tries,
            winner = u.winner, excluded = u.excluded, not_before = u.not_before, error = u.error
        FROM json_to_recordset($2::json) AS u(number int8, state text, job_ids text[], bid int8, tries int,
            winner text, excluded text[], not_before timestamptz, error text)
        WHERE plan_units.plan_id = $1 AND plan_units.number = u.number""",
        plan_id,
        to_json(rows),
    )


async def add_history(uow: UnitOfWork, plan_id: str, moves: Sequence[PlanMove]) -> None:
    """Insert one row a change, in the given order."""
    if moves:
        await copy_rows(
            uow,
            "plan_history",
            ("plan_id", "number", "at", "from_state", "to_state", "reason", "bid", "job_id"),
            [
                (plan_id, move.number, uow.now, move.source, move.target, move.reason, move.bid, move.job_id)
                for move in moves
            ],
        )


async def request_cancel(uow: UnitOfWork, plan_id: str, account: str | None) -> bool:
    """Ask for a plan's end. False when it is over, is not there, or was asked before. ``account``: None = any."""
    found = await uow.sql.fetchval(
        """UPDATE plans SET cancel_requested = true, version = version + 1
        WHERE id = $1 AND ($2::text IS NULL OR account = $2) AND NOT cancel_requested AND finished_at IS NULL
        RETURNING id""",
        plan_id,
        account,
    )
    return found is not None


async def request(uow: UnitOfWork, plan_id: str) -> dict[str, Any]:
    """A plan's request as it was stored: large, and always the same."""
    found: dict[str, Any] = await uow.sql.fetchval("SELECT request FROM plans WHERE id = $1", plan_id)
    return found


async def get(uow: UnitOfWork, plan_id: str, account: str | None) -> Plan | None:
    """A plan of ``account`` (None = of anyone)."""
    row = await uow.sql.fetchrow(
        f"SELECT {COLUMNS} FROM plans WHERE id = $1 AND ($2::text IS NULL OR account = $2)", plan_id, account
    )
    return None if row is None else _plan(row)


async def listing(uow: UnitOfWork, account: str | None, before: str, limit: int) -> list[tuple[Plan, int, int]]:
    """``(plan, units, units that are over)``, newest first, with ids below ``before`` (empty = from the newest)."""
    rows = await uow.sql.fetch(
        f"""SELECT {COLUMNS}, (SELECT count(*) FROM plan_units u WHERE u.plan_id = p.id) AS units,
            (SELECT count(*) FROM plan_units u WHERE u.plan_id = p.id AND u.state NOT IN ('waiting', 'running')) AS over
        FROM plans p WHERE ($1::text IS NULL OR account = $1) AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3""",
        account,
        before,
        limit,
    )
    listed = []
    for row in rows:
        *values, count, over = row.values()
        values[4] = PlanState(values[4])
        listed.append((Plan(*values), count, over))
    return listed


async def history(uow: UnitOfWork, plan_id: str, limit: int) -> list[Mapping[str, Any]]:
    """A plan's last changes, oldest first."""
    rows = await uow.sql.fetch(
        """SELECT * FROM (SELECT seq, number, at, from_state, to_state, reason, bid, job_id FROM plan_history
            WHERE plan_id = $1 ORDER BY seq DESC LIMIT $2) AS last ORDER BY seq""",
        plan_id,
        limit,
    )
    return [dict(row) for row in rows]


async def versions(uow: UnitOfWork, plan_ids: Sequence[str]) -> dict[str, tuple[int, bool]]:
    """``(version, over)`` of these plans: what waiters wait for."""
    rows = await uow.sql.fetch(
        "SELECT id, version, finished_at IS NOT NULL FROM plans WHERE id = ANY($1::text[])", plan_ids
    )
    return {row[0]: (row[1], row[2]) for row in rows}
