"""The health of nodes: written by the waves in which they fail, and by the sweeper where only time passes."""

from __future__ import annotations

from datetime import timedelta

from app.core.events import Reason
from app.core.health import HealthRules, decayed, judged
from app.core.states import NodeState
from app.services.nodes import NodeMove, look_at_jobs_on, move
from app.services.phases import ENGINE
from app.services.waves import Wave
from app.settings import NodesSettings
from app.store import nodes
from app.store.chain import links
from app.store.db import Database, UnitOfWork

SWEEPER = "sweeper"


async def record(uow: UnitOfWork, wave: Wave, rules: HealthRules) -> list[str]:
    """Write what the wave's incidents come to, after the wave itself is saved; the nodes that were suspended.

    The wave has had these rows locked from its start: what it read of them still holds.
    """
    healths, failing = {}, []
    for node_id, incidents in wave.incidents.items():
        before = wave.health[node_id]
        after, shut_out = judged(before, wave.nodes[node_id].state, incidents, rules, wave.now)
        if after != before:
            healths[node_id] = after
        if shut_out:
            failing.append(node_id)
    if failing:
        accounts = await links.accounts_of(uow, failing)
        await move(
            uow,
            [
                NodeMove(id_, wave.nodes[id_].state, NodeState.SUSPENDED, Reason.FAILING, ENGINE, accounts[id_])
                for id_ in failing
            ],
        )
    if healths:
        wave.nodes |= await nodes.set_health(uow, healths)
    # Offers that this very wave made are among them.
    await look_at_jobs_on(uow, failing)
    return failing


async def let_back(db: Database, limit: int = 500) -> int:
    """End the suspensions by the circuit breaker whose time is over; how many.

    The node is offline then, as after any suspension: its next heartbeat brings it online, on trial.
    """
    async with db.unit() as uow:
        due = await nodes.lock_cooled_down(uow, limit)
        # One that left the state by another way, such as deregistering, is only relieved of its date.
        freed = [
            NodeMove(id_, state, NodeState.OFFLINE, Reason.COOLED_DOWN, SWEEPER, account)
            for id_, account, state in due
            if state is NodeState.SUSPENDED
        ]
        await move(uow, freed)
        if due:
            await nodes.forget_cooldown(uow, [id_ for id_, _, _ in due])
    return len(freed)


async def decay(db: Database, rules: HealthRules, limit: int = 2000) -> int:
    """Write the penalties that have fallen by a step or more, of at most ``limit`` nodes; how many."""
    async with db.unit() as uow:
        due = await nodes.lock_decaying(uow, rules.step, limit)
        if due:
            await nodes.set_health(uow, {id_: decayed(health, rules, uow.now) for id_, health in due.items()})
    return len(due)


def rules_from(settings: NodesSettings) -> HealthRules:
    """The configured rules."""
    return HealthRules(
        decline_penalty=settings.decline_penalty,
        failure_penalty=settings.failure_penalty,
        half_life=timedelta(seconds=settings.penalty_half_life_s),
        breaker_failures=settings.breaker_failures,
        cooldown=timedelta(seconds=settings.breaker_cooldown_s),
        trial_jobs=settings.trial_jobs,
    )
