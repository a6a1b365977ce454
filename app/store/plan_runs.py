"""Runs of redundant units of plans: which jobs they are, and on which nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.core.states import JobState
from app.store.db import UnitOfWork


async def take_turns(uow: UnitOfWork, units: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[str]]:
    """The jobs of the present rounds of those of these units ``(plan_id, number)`` that run more than once.

    Until the transaction ends no other one gets past here with one of them; units are taken in order.
    """
    rows = await uow.sql.fetch(
        """WITH found AS MATERIALIZED (SELECT u.plan_id, u.number, u.job_ids
            FROM unnest($1::text[], $2::int8[]) AS a(plan_id, number) JOIN plan_units u USING (plan_id, number)
            WHERE cardinality(u.job_ids) > 1 ORDER BY u.plan_id, u.number)
        SELECT plan_id, number, job_ids, pg_advisory_xact_lock(hashtextextended('hae_runs ' || plan_id || number, 0))
        FROM found""",
        [plan_id for plan_id, _ in units],
        [number for _, number in units],
    )
    return {(row[0], row[1]): list(row[2]) for row in rows}


async def nodes(uow: UnitOfWork, job_ids: Sequence[str], states: Iterable[JobState]) -> dict[str, str]:
    """On which nodes those of these jobs are that are in one of ``states``, by job id."""
    if not job_ids:
        return {}
    rows = await uow.sql.fetch(
        "SELECT id, node_id FROM jobs WHERE id = ANY($1::text[]) AND state = ANY($2::text[]) AND node_id IS NOT NULL",
        job_ids,
        [state.value for state in states],
    )
    return {row[0]: row[1] for row in rows}
