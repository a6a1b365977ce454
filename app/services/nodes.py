"""Use cases of operators about nodes: register, heartbeats, drain, standing, and the sweep for silent ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.core.access import Principal
from app.core.errors import Conflict, NotFound
from app.core.events import EventKind, Reason, SignalKind
from app.core.ids import new_id
from app.core.lifecycle import RESTARTED
from app.core.states import NODE_MOVES, NodeState, check_move
from app.services.offers import give_up_runs
from app.store import events, heartbeats, leases, nodes, signals
from app.store.db import Database, UnitOfWork
from app.store.events import NewEvent
from app.store.nodes import NewNode, NodeRow


@dataclass(frozen=True, slots=True)
class Registration:
    """A validated description of a node. ``price``: base units of HYPER per GPU-hour.

    ``fresh``: its worker has just started and runs nothing.
    """

    wallet: str
    gpu_model: str
    gpus: int
    vram_gb: int
    capabilities: int
    region: str
    price: int
    capacity: int
    details: dict[str, Any]
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What the network knows of a node. ``stake``: base units of HYPER."""

    node_id: str
    reputation: int
    stake: int
    jobs_completed: int
    jobs_failed: int


_EVENT = {
    NodeState.ONLINE: EventKind.NODE_ONLINE,
    NodeState.OFFLINE: EventKind.NODE_OFFLINE,
    NodeState.DRAINING: EventKind.NODE_DRAINING,
    NodeState.SUSPENDED: EventKind.NODE_SUSPENDED,
    NodeState.DEREGISTERED: EventKind.NODE_DEREGISTERED,
}


async def register(db: Database, principal: Principal, given: Registration) -> tuple[str, NodeState, bool]:
    """Register the node of a wallet, or update it: ``(node_id, state, created)``.

    Registering counts as a sign of life. What a ``fresh`` node still holds is reported as failed, so that it goes on
    elsewhere at once. Raises Conflict when another account owns the wallet.
    """
    row = new_node(principal, given)
    async with db.unit() as uow:
        if given.fresh:
            # Before the node's row is locked: waves lock offers first, then nodes.
            known = await nodes.by_wallet(uow, given.wallet, principal.account)
            if known is not None:
                await give_up_runs(uow, known.node.id, RESTARTED)
        kept = await nodes.upsert(uow, row)
        if kept is None:
            raise Conflict("this wallet belongs to a node of another account", code="wallet_taken", field="wallet")
        node_id, state, created = kept
        if created:
            await heartbeats.start(uow, node_id)
            await events.add_node_history(
                uow, [(node_id, None, NodeState.REGISTERED, Reason.REGISTERED, principal.key_id)]
            )
            await events.add(uow, [registered_event(row)])
        if state is NodeState.DEREGISTERED:
            again = NodeMove(node_id, state, NodeState.REGISTERED, Reason.REGISTERED, principal.key_id)
            await move(uow, [again])
        await heard_in(uow, [(node_id, None)])
        found = await nodes.get(uow, node_id, None)
    return node_id, found.node.state if found else state, created


def new_node(principal: Principal, given: Registration) -> NewNode:
    """The row of a node not seen before, with an id of its own."""
    return NewNode(
        new_id("node"), principal.account, given.wallet, given.gpu_model, given.gpus, given.vram_gb,
        given.capabilities, given.region, given.price, given.capacity, given.details,
    )  # fmt: skip


def registered_event(row: NewNode) -> NewEvent:
    data = {"node_id": row.id, "gpu_model": row.gpu_model, "gpus": row.gpus, "region": row.region}
    return NewEvent(EventKind.NODE_REGISTERED, data, row.account, None, row.id)


async def heard(db: Database, beats: Sequence[tuple[str, int | None]]) -> None:
    """Record signs of life ``(node_id, gpu_utilization % or None)``; silent nodes come back online."""
    if not beats:
        return
    async with db.unit() as uow:
        await heard_in(uow, beats)


async def heard_in(uow: UnitOfWork, beats: Sequence[tuple[str, int | None]]) -> None:
    """As ``heard``, within the caller's transaction."""
    silent = sorted(await heartbeats.flush(uow, beats))
    await move(uow, [NodeMove(id_, state, NodeState.ONLINE, Reason.HEARTBEAT, id_) for id_, state in silent])


async def sweep_silent(db: Database, offline_after_s: float, limit: int = 500) -> int:
    """Put nodes that fell silent offline and have their jobs looked at; how many."""
    async with db.unit() as uow:
        silent = await heartbeats.silent(uow, offline_after_s, limit)
        await move(
            uow,
            [
                NodeMove(id_, state, NodeState.OFFLINE, Reason.SILENT, "sweeper", account)
                for id_, account, state in silent
            ],
        )
        # The rows are locked and now offline, so no wave can put a job there after this look.
        await look_at_jobs_on(uow, [node_id for node_id, _, _ in silent])
    return len(silent)


async def sweep_leases(db: Database, lease_s: float, limit: int = 500) -> int:
    """Have the jobs of runs looked at whose leases are over; how many."""
    async with db.unit() as uow:
        lapsed = await leases.lapsed(uow, lease_s, limit)
        await signals.add(uow, [(job_id, SignalKind.LEASE_LOST, None) for job_id in lapsed])
    return len(lapsed)


async def quietest_s(db: Database) -> float:
    """Seconds since the last sign of life of the quietest node in service; 0 without any."""
    async with db.unit() as uow:
        return await heartbeats.quietest_s(uow)


async def look_at_jobs_on(uow: UnitOfWork, node_ids: Sequence[str]) -> None:
    """Have the jobs of nodes looked at that take none any more. The nodes must be locked."""
    # The wave takes back what is to be taken back: waves lock offers before nodes, so they are not for us to lock now.
    if node_ids:
        held = await heartbeats.jobs_on(uow, node_ids)
        await signals.add(uow, [(job_id, SignalKind.LEASE_LOST, None) for job_id in held])


async def drain(db: Database, node: NodeRow, actor: str) -> NodeState:
    """Give the node no more jobs; open offers go elsewhere, running jobs go on. Repeating changes nothing."""
    async with db.unit() as uow:
        source = await _locked(uow, node.node.id)
        if source is NodeState.DRAINING:
            return source
        await move(uow, [NodeMove(node.node.id, source, NodeState.DRAINING, Reason.DRAINED, actor, node.account)])
        await look_at_jobs_on(uow, [node.node.id])
    return NodeState.DRAINING


async def resume(db: Database, node: NodeRow, actor: str) -> NodeState:
    """Take a draining node back into service. Raises Conflict for a suspended or deregistered one."""
    async with db.unit() as uow:
        source = await _locked(uow, node.node.id)
        if source is not NodeState.ONLINE:
            await move(uow, [NodeMove(node.node.id, source, NodeState.ONLINE, Reason.OPERATOR, actor, node.account)])
    return NodeState.ONLINE


async def _locked(uow: UnitOfWork, node_id: str) -> NodeState:
    """The node's state now, which stays until the transaction ends: what the caller read before may be over."""
    return (await nodes.lock(uow, [node_id]))[node_id].state


async def set_standing(db: Database, given: Sequence[Standing]) -> int:
    """Set the standing of nodes, all or none; how many. Raises NotFound naming an unknown one."""
    async with db.unit() as uow:
        known = await nodes.lock(uow, [one.node_id for one in given])
        missing = next((one.node_id for one in given if one.node_id not in known), None)
        if missing is not None:
            raise NotFound(f"there is no node {missing[:60]}; nothing was changed", code="node_not_found")
        await nodes.set_standing(
            uow,
            [(one.node_id, one.reputation, one.stake, one.jobs_completed, one.jobs_failed) for one in given],
        )
    return len(given)


async def owned(db: Database, principal: Principal, node_id: str) -> NodeRow:
    """The caller's node. Raises NotFound, also for another account's node."""
    async with db.unit() as uow:
        found = await nodes.get(uow, node_id, principal.account)
    if found is None:
        raise NotFound(
            f"there is no node {node_id[:60]} of this account",
            code="node_not_found",
            next_action="Register it first: POST /v1/node/register",
        )
    return found


async def any_node(db: Database, node_id: str) -> NodeRow:
    """A node of any account. Raises NotFound."""
    async with db.unit() as uow:
        found = await nodes.get(uow, node_id, None)
    if found is None:
        raise NotFound(f"there is no node {node_id[:60]}", code="node_not_found")
    return found


async def by_wallet(db: Database, principal: Principal, wallet: str) -> NodeRow | None:
    """The account's node with this wallet, None when there is none."""
    async with db.unit() as uow:
        return await nodes.by_wallet(uow, wallet, principal.account)


@dataclass(frozen=True, slots=True)
class NodeMove:
    """One transition of a node. ``account``: whom its event is told to, where that is known."""

    node_id: str
    source: NodeState
    target: NodeState
    reason: Reason
    actor: str
    account: str | None = None


async def move(uow: UnitOfWork, moves: Sequence[NodeMove]) -> list[NodeMove]:
    """Guarded moves, one a node, with their history and events; those that won: the others' nodes had left ``source``.

    Raises IllegalTransition outside the table.
    """
    for one in moves:
        check_move(NODE_MOVES, one.source, one.target)
    if not moves:
        return []
    won = await nodes.move(uow, [(one.node_id, one.source, one.target) for one in moves])
    made = [one for one in moves if one.node_id in won]
    await events.add_node_history(uow, [(one.node_id, one.source, one.target, one.reason, one.actor) for one in made])
    await events.add(uow, [moved_event(one) for one in made if one.target in _EVENT])
    return made


def moved_event(made: NodeMove) -> NewEvent:
    data = {"node_id": made.node_id, "state": made.target.value, "reason": str(made.reason)}
    return NewEvent(_EVENT[made.target], data, made.account, None, made.node_id)
