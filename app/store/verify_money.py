"""Read-only questions about money that is held back: plans against their jobs, days of keys against theirs."""

from __future__ import annotations

from app.core.plans import PLAN_FINAL
from app.store.db import UnitOfWork
from app.store.verify import MOST, Finding

_OVER = ", ".join(f"'{state}'" for state in sorted(PLAN_FINAL))


async def plans(uow: UnitOfWork) -> list[Finding]:
    """Plans whose jobs cost, or may cost, more than the plan holds back for them, or anything else once it is over.

    A job that ended a moment ago may cost less than the plan still holds back for it: its next wave takes note.
    """
    rows = await uow.sql.fetch(
        f"""WITH own AS (SELECT plan_id, coalesce(sum(cost), 0) AS cost,
                coalesce(sum(max_cost) FILTER (WHERE finished_at IS NULL), 0) AS held,
                count(*) FILTER (WHERE finished_at IS NULL) AS live
            FROM jobs WHERE plan_id IS NOT NULL GROUP BY plan_id)
        SELECT coalesce(p.id, own.plan_id), p.state, p.budget, p.spent, p.reserved, coalesce(own.cost, 0),
            coalesce(own.held, 0), coalesce(own.live, 0)
        FROM plans p FULL JOIN own ON own.plan_id = p.id
        WHERE p.id IS NULL OR coalesce(own.cost, 0) + coalesce(own.held, 0) > p.spent + p.reserved
            OR p.spent + p.reserved > p.budget
            OR (p.state IN ({_OVER}) AND (p.spent <> coalesce(own.cost, 0) OR p.reserved <> 0 OR own.live > 0))
        ORDER BY 1 LIMIT $1""",
        MOST,
    )
    return [
        (
            row[0],
            "its jobs are there, and it is not"
            if row[1] is None
            else f"is {row[1]} with a budget of {row[2]} base units, says {row[3]} spent and {row[4]} held back; its "
            f"jobs cost {row[5]}, and {row[7]} under way may cost {row[6]}",
        )
        for row in rows
    ]


async def winners(uow: UnitOfWork) -> list[Finding]:
    """Units of plans that are done by a job which is none of theirs, or is not completed; or by none at all."""
    rows = await uow.sql.fetch(
        """SELECT u.plan_id, u.task_id, u.item, u.winner FROM plan_units u LEFT JOIN jobs j ON j.id = u.winner
        WHERE (u.state = 'done') <> (u.winner IS NOT NULL)
            OR (u.winner IS NOT NULL AND (j.id IS NULL OR j.state <> 'completed' OR j.plan_id <> u.plan_id
                OR j.plan_unit <> u.number))
        ORDER BY 1, 2, 3 LIMIT $1""",
        MOST,
    )
    return [(row[0], f"{row[1]}[{row[2]}] has the result of {row[3] or 'no job'}") for row in rows]


async def days(uow: UnitOfWork) -> list[Finding]:
    """Days of keys whose reserved and spent amounts are not what the jobs of that day come to.

    Of a past day that holds nothing back the row may be forgotten.
    """
    rows = await uow.sql.fetch(
        """WITH own AS (SELECT key_id, spend_day AS day, coalesce(sum(cost), 0) AS spent,
                coalesce(sum(max_cost) FILTER (WHERE finished_at IS NULL), 0) AS reserved
            FROM jobs WHERE spend_day IS NOT NULL GROUP BY key_id, spend_day)
        SELECT coalesce(k.key_id, own.key_id), coalesce(k.day, own.day), coalesce(k.spent, 0), coalesce(own.spent, 0),
            coalesce(k.reserved, 0), coalesce(own.reserved, 0)
        FROM key_spending k FULL JOIN own ON own.key_id = k.key_id AND own.day = k.day
        WHERE (coalesce(k.spent, 0) <> coalesce(own.spent, 0) OR coalesce(k.reserved, 0) <> coalesce(own.reserved, 0))
            AND (k.key_id IS NOT NULL OR own.reserved > 0 OR own.day >= (now() AT TIME ZONE 'UTC')::date)
        ORDER BY 1, 2 LIMIT $1""",
        MOST,
    )
    return [
        (
            row[0],
            f"on {row[1]} {row[2]} base units are counted as spent and {row[4]} as reserved, its jobs come to {row[3]} "
            f"and {row[5]}",
        )
        for row in rows
    ]
