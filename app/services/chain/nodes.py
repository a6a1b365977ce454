"""Nodes on chain: folded anew, each with a node of the engine, whose standing and state follow what the chain says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from app.core.chain import CHAIN_ACCOUNT
from app.core.events import Reason
from app.core.folding import NODE_EVENTS, Fact, Wish, clipped, fold_node, node_path, region_in, wish_of
from app.core.ids import new_id
from app.core.money import MAX_AMOUNT
from app.core.nodes import NodeRecord
from app.core.requirements import MAX_REPUTATION
from app.core.states import NodeState
from app.services.chain.linking import ACTOR
from app.services.chain.rules import Look, Rules
from app.services.nodes import NodeMove, look_at_jobs_on, move, registered_event
from app.store import events as told
from app.store import nodes
from app.store.chain import events, links, projections
from app.store.chain.projections import NodeRow
from app.store.db import UnitOfWork
from app.store.nodes import NewNode

_MAX_COUNT = 2**31 - 1
_UNTOLD = (100, 0, 0)
"""The standing of a node whose account was never fetched."""
_RELEASING = frozenset({NodeState.SUSPENDED, NodeState.DRAINING, NodeState.DEREGISTERED})


async def refold(uow: UnitOfWork, rules: Rules, look: Look) -> None:
    """Bring nodes on chain, and the engine's nodes, up to what their events say."""
    addresses = sorted(look.nodes)
    if not addresses:
        return
    before = await projections.nodes(uow, addresses)
    facts = await events.facts(uow, addresses, NODE_EVENTS)
    rows: dict[str, NodeRow] = {}
    for address in addresses:
        row = fold(address, before.get(address), facts.get(address, ()), look.accounts.get(address))
        if row is not None:
            rows[address] = row
    changed = [row for address, row in rows.items() if row != before.get(address)]
    linked = await _link(uow, rules, changed)
    records = await nodes.lock(uow, [row.node_id for row in changed if row.node_id is not None])
    told_of = [row for row in changed if row.address in look.accounts or _standing(row) != _UNTOLD]
    await _set_standing(uow, records, before, told_of, linked)
    await _move(uow, records, before, changed, linked)
    await projections.save_nodes(
        uow, [row for row in changed if row.address not in before], [row for row in changed if row.address in before]
    )


def fold(
    address: str, before: NodeRow | None, facts: Iterable[Fact], account: tuple[str, dict[str, Any]] | None
) -> NodeRow | None:
    """The row that an account's events, its state as fetched (if it was) and what was known of that before come to;
    None while nothing says whose it is."""
    known = list(facts)
    fields = account[1] if account is not None and account[0] == "NodeAccount" else {}
    folded = fold_node(known)
    owner = folded.owner or clipped(fields.get("owner"), 44)
    if not known or (before is None and owner is None):
        return before
    name = clipped(known[0].data.get("node_id"), 64) or ""
    row = before.copy() if before is not None else NodeRow(address, owner or "", name)
    row.registered, row.status, row.slot = folded.registered, folded.status, folded.slot
    if fields:
        row.gpu_specs_hash = clipped(fields.get("gpu_specs_hash"), 64) or ""
        row.location = clipped(fields.get("location"), 64) or ""
        row.stake = fields.get("stake_amount", 0)
        row.reputation = fields.get("reputation_score", 0)
        row.jobs_completed = fields.get("jobs_completed", 0)
        row.total_earned = fields.get("total_earned", 0)
    return row


async def _link(uow: UnitOfWork, rules: Rules, rows: Sequence[NodeRow]) -> set[str]:
    """Give each account that is registered and has no node its owner's, or else a new one; the addresses that got one.

    The owner's node may be that of another account of the same owner: while it is registered the node stays with it,
    and a new one is made that goes by the account's address. After that it is free for the next.
    """
    asking = sorted(
        (row for row in rows if row.registered and row.node_id is None), key=lambda row: (row.slot, row.address)
    )
    leaving = {row.node_id: row for row in rows if row.node_id is not None and not row.registered}
    made: dict[str, NewNode] = {}
    open_ = asking
    for wallet_of in (attrgetter("owner"), attrgetter("address")):
        by_wallet: dict[str, NodeRow] = {}
        for row in open_:
            by_wallet.setdefault(wallet_of(row), row)
        if not by_wallet:
            break
        known = await links.nodes_by_wallet(uow, list(by_wallet))
        new = [_new_node(rules, row, wallet) for wallet, row in by_wallet.items() if wallet not in known]
        if new:
            ids = await nodes.insert_new(uow, new, NodeState.REGISTERED)
            made |= {node.id: node for node in new if node.id in ids}
            # Whoever was registering such a wallet at this moment has been waited for, and has the node.
            known = await links.nodes_by_wallet(uow, list(by_wallet))
        # What is stored does not say yet who comes back to its node just now.
        staying = {row.node_id for row in rows if row.registered and row.node_id is not None}
        held = staying | await links.nodes_held(uow, list(known.values()))
        free = {wallet: id_ for wallet, id_ in known.items() if id_ not in held or id_ in leaving}
        await links.give_up_nodes(uow, list(free.values()))
        for wallet, id_ in free.items():
            by_wallet[wallet].node_id = id_
            if id_ in leaving:
                leaving[id_].node_id = None
        open_ = [row for row in open_ if row.node_id is None]
    await told.add_node_history(uow, [(id_, None, NodeState.REGISTERED, Reason.CHAIN, ACTOR) for id_ in made])
    await told.add(uow, [registered_event(node) for node in made.values()])
    return {row.address for row in asking if row.node_id is not None}


def _new_node(rules: Rules, row: NodeRow, wallet: str) -> NewNode:
    details = {"chain_node_id": row.chain_node_id, "location": row.location}
    return NewNode(
        new_id("node"), f"{CHAIN_ACCOUNT}{row.owner}", wallet, "", 0, 0, 0, region_in(row.location),
        rules.default_price, 1, details,
    )  # fmt: skip


async def _set_standing(
    uow: UnitOfWork,
    records: Mapping[str, NodeRecord],
    before: Mapping[str, NodeRow],
    changed: Sequence[NodeRow],
    linked: set[str],
) -> None:
    """Copy the chain's word on nodes where it changed. In between, the engine counts what it sees itself."""
    rows = []
    for row in changed:
        record, was = records.get(row.node_id or ""), before.get(row.address)
        if record is None or (row.address not in linked and was is not None and _standing(was) == _standing(row)):
            continue
        rows.append((record.id, *_standing(row), record.jobs_failed))
    if rows:
        await nodes.set_standing(uow, rows)


def _standing(row: NodeRow) -> tuple[int, int, int]:
    """Reputation, stake and completed jobs, as far as the engine's columns reach."""
    return (
        min(max(row.reputation, 0), MAX_REPUTATION), min(row.stake, MAX_AMOUNT), min(row.jobs_completed, _MAX_COUNT)
    )  # fmt: skip


async def _move(
    uow: UnitOfWork,
    records: Mapping[str, NodeRecord],
    before: Mapping[str, NodeRow],
    changed: Sequence[NodeRow],
    linked: set[str],
) -> None:
    paths: list[tuple[str, list[NodeState]]] = []
    cooling = await nodes.shut_out(uow, list(records)) if records else {}
    for row in changed:
        record, was = records.get(row.node_id or ""), before.get(row.address)
        if record is not None:
            old = None if was is None or row.address in linked else wish_of(was.registered, was.status)
            path = node_path(record.state, old, wish_of(row.registered, row.status))
            # The circuit breaker's suspensions are its own to end.
            if path and not (record.id in cooling and path[0] is NodeState.OFFLINE):
                paths.append((record.id, [record.state, *path]))
    await _take_over_suspensions(uow, records, changed, cooling)
    accounts = await links.accounts_of(uow, [node_id for node_id, _ in paths]) if paths else {}
    for step in (0, 1):
        await move(
            uow,
            [
                NodeMove(node_id, path[step], path[step + 1], Reason.CHAIN, ACTOR, accounts.get(node_id))
                for node_id, path in paths
                if len(path) > step + 1
            ],
        )
    await look_at_jobs_on(uow, [node_id for node_id, path in paths if path[-1] in _RELEASING])


async def _take_over_suspensions(
    uow: UnitOfWork, records: Mapping[str, NodeRecord], changed: Sequence[NodeRow], cooling: Collection[str]
) -> None:
    """A node that the chain suspends, too, is not let back by the circuit breaker."""
    held = {row.node_id for row in changed if wish_of(row.registered, row.status) is Wish.SUSPENDED}
    ours = [id_ for id_ in cooling if id_ in held and records[id_].state is NodeState.SUSPENDED]
    if ours:
        await nodes.forget_cooldown(uow, ours)
