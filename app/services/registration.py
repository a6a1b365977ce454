"""Many nodes that register at once: those not seen before share one transaction, as do those that the chain made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.core.access import Principal
from app.core.errors import HaeError
from app.core.events import Reason
from app.core.states import NodeState
from app.services.nodes import NodeMove, Registration, heard_in, move, moved_event, new_node, register, registered_event
from app.store import events, nodes
from app.store.db import Database, UnitOfWork
from app.store.nodes import NewNode

Answer = tuple[str, NodeState, bool]
"""``(node_id, state, created)``, as nodes.register answers."""


async def register_many(db: Database, calls: Sequence[tuple[Principal, Registration]]) -> list[Answer | HaeError]:
    """Register nodes as nodes.register does, an answer or an error each, in order.

    New wallets are inserted together, nodes that the chain made are taken over together; a wallet that an account has
    already, or that is named twice, is registered by itself.
    """
    answers: dict[int, Answer | HaeError] = await _together(db, calls) if len(calls) > 1 else {}
    for index, (principal, given) in enumerate(calls):
        if index not in answers:
            try:
                answers[index] = await register(db, principal, given)
            except HaeError as error:
                answers[index] = error
    return [answers[index] for index in range(len(calls))]


async def _together(db: Database, calls: Sequence[tuple[Principal, Registration]]) -> dict[int, Answer | HaeError]:
    async with db.unit() as uow:
        known = await nodes.known_wallets(uow, [given.wallet for _, given in calls])
        named: set[str] = set()
        new: dict[int, NewNode] = {}
        old: dict[int, NewNode] = {}
        for index, (principal, given) in enumerate(calls):
            if given.wallet not in named:
                named.add(given.wallet)
                (old if given.wallet in known else new)[index] = new_node(principal, given)
        actors = {index: principal.key_id for index, (principal, _) in enumerate(calls)}
        # New ones first: whoever makes nodes of the chain's events inserts before it locks, too.
        return await _insert(uow, new, actors) | await _take_over(uow, old, actors)


async def _insert(
    uow: UnitOfWork, rows: Mapping[int, NewNode], actors: Mapping[int, str]
) -> dict[int, Answer | HaeError]:
    if not rows:
        return {}
    made = await nodes.insert_new(uow, list(rows.values()), NodeState.ONLINE)
    rows = {index: row for index, row in rows.items() if row.id in made}
    # Registering is a sign of life: both moves are told, though the row is written once.
    await events.add_node_history(
        uow,
        [
            step
            for index, row in rows.items()
            for step in (
                (row.id, None, NodeState.REGISTERED, Reason.REGISTERED, actors[index]),
                (row.id, NodeState.REGISTERED, NodeState.ONLINE, Reason.HEARTBEAT, row.id),
            )
        ],
    )
    await events.add(uow, [event for row in rows.values() for event in (registered_event(row), _online(row.id))])
    return {index: (row.id, NodeState.ONLINE, True) for index, row in rows.items()}


async def _take_over(
    uow: UnitOfWork, rows: Mapping[int, NewNode], actors: Mapping[int, str]
) -> dict[int, Answer | HaeError]:
    if not rows:
        return {}
    # Nobody ran anything on them yet, so a fresh worker has nothing to give up.
    given = await nodes.take_over(uow, list(rows.values()))
    ids = {index: given[row.wallet] for index, row in rows.items() if row.wallet in given}
    states = await nodes.states_of(uow, list(ids.values()))
    back = [
        NodeMove(id_, states[id_], NodeState.REGISTERED, Reason.REGISTERED, actors[index])
        for index, id_ in ids.items()
        if states[id_] is NodeState.DEREGISTERED
    ]
    await move(uow, back)
    await heard_in(uow, [(id_, None) for id_ in ids.values()])
    states = await nodes.states_of(uow, list(ids.values()))
    return {index: (id_, states[id_], False) for index, id_ in ids.items()}


def _online(node_id: str) -> events.NewEvent:
    return moved_event(NodeMove(node_id, NodeState.REGISTERED, NodeState.ONLINE, Reason.HEARTBEAT, node_id))
