"""Many nodes that register at once: those not seen before share one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.access import Principal
from app.core.errors import HaeError
from app.core.events import EventKind, Reason
from app.core.states import NodeState
from app.services.nodes import Registration, new_node, register, registered_event
from app.store import events, nodes
from app.store.db import Database
from app.store.events import NewEvent

Answer = tuple[str, NodeState, bool]
"""``(node_id, state, created)``, as nodes.register answers."""


async def register_many(db: Database, calls: Sequence[tuple[Principal, Registration]]) -> list[Answer | HaeError]:
    """Register nodes as nodes.register does, an answer or an error each, in order.

    New wallets are inserted together; a wallet known before, or named twice, is registered by itself.
    """
    answers: dict[int, Answer | HaeError] = await _new_ones(db, calls) if len(calls) > 1 else {}
    for index, (principal, given) in enumerate(calls):
        if index not in answers:
            try:
                answers[index] = await register(db, principal, given)
            except HaeError as error:
                answers[index] = error
    return [answers[index] for index in range(len(calls))]


async def _new_ones(db: Database, calls: Sequence[tuple[Principal, Registration]]) -> dict[int, Answer | HaeError]:
    async with db.unit() as uow:
        known = await nodes.known_wallets(uow, [given.wallet for _, given in calls])
        rows = {}
        for index, (principal, given) in enumerate(calls):
            if given.wallet not in known:
                known.add(given.wallet)
                rows[index] = new_node(principal, given)
        if not rows:
            return {}
        made = await nodes.insert_online(uow, list(rows.values()))
        rows = {index: row for index, row in rows.items() if row.id in made}
        # Registering is a sign of life: both moves are told, though the row is written once.
        actors = {index: calls[index][0].key_id for index in rows}
        await events.add_node_history(
            uow,
            [
                move
                for index, row in rows.items()
                for move in (
                    (row.id, None, NodeState.REGISTERED, Reason.REGISTERED, actors[index]),
                    (row.id, NodeState.REGISTERED, NodeState.ONLINE, Reason.HEARTBEAT, row.id),
                )
            ],
        )
        await events.add(uow, [event for row in rows.values() for event in (registered_event(row), _online(row.id))])
    return {index: (row.id, NodeState.ONLINE, True) for index, row in rows.items()}


def _online(node_id: str) -> NewEvent:
    data = {"node_id": node_id, "state": NodeState.ONLINE.value, "reason": Reason.HEARTBEAT.value}
    return NewEvent(EventKind.NODE_ONLINE, data, None, None, node_id)
