"""The nodes table: registration, slot counters, health. What keeps views current is in node_feed.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.core.chain import CHAIN_ACCOUNT
from app.core.health import Health
from app.core.nodes import NodeRecord
from app.core.states import NodeState
from app.store.db import UnitOfWork
from app.store.rows import NODE_COLUMNS, node_from, to_json

_TOUCH = "version = version + 1, changed_in = pg_current_xact_id()::text::bigint"
_WRITTEN = ", ".join(f"nodes.{column.strip()}" for column in NODE_COLUMNS.split(","))


@dataclass(slots=True)
class NewNode:
    """What an operator registers. ``price``: base units of HYPER per GPU-hour; ``capacity``: slots."""

    id: str
    account: str
    wallet: str
    gpu_model: str
    gpus: int
    vram_gb: int
    capabilities: int
    region: str
    price: int
    capacity: int
    details: dict[str, Any]


@dataclass(slots=True)
class NodeRow:
    """A node with its owner and details, for the API."""

    node: NodeRecord
    account: str
    wallet: str
    details: dict[str, Any]
    created_at: datetime
    last_seen_at: datetime | None
    suspended_until: datetime | None


@dataclass(slots=True)
class SlotChange:
    """What a wave did to a node: slots taken (+) or given back (-), outcomes counted, its slowest answer's time."""

    node_id: str
    slots: int = 0
    completed: int = 0
    failed: int = 0
    response_ms: int = 0


async def upsert(uow: UnitOfWork, node: NewNode) -> tuple[str, NodeState, bool] | None:
    """Register a node, or update the one with this wallet: ``(id, state, created)``; None if another account owns it.

    One that the chain made passes to the first account that registers its wallet. Capacity never falls below the slots
    in use.
    """
    row = await uow.sql.fetchrow(
        f"""INSERT INTO nodes (id, account, wallet, gpu_model, gpus, vram_gb, capabilities, region, price, capacity,
            details)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb)
        ON CONFLICT (wallet) DO UPDATE SET {_taken_from("excluded")}, version = nodes.version + 1,
            changed_in = pg_current_xact_id()::text::bigint
        WHERE nodes.account = excluded.account OR {_FROM_CHAIN}
        RETURNING id, state, xmax = 0""",
        node.id, node.account, node.wallet, node.gpu_model, node.gpus, node.vram_gb, node.capabilities, node.region,
        node.price, node.capacity, to_json(node.details),
    )  # fmt: skip
    uow.hints.view = True
    return None if row is None else (row[0], NodeState(row[1]), row[2])


_FROM_CHAIN = f"nodes.account LIKE '{CHAIN_ACCOUNT}%'"


def _taken_from(source: str) -> str:
    columns = ("account", "gpu_model", "gpus", "vram_gb", "capabilities", "region", "price", "details")
    sets = ", ".join(f"{column} = {source}.{column}" for column in columns)
    most = f"capacity_max = greatest(nodes.capacity_max, nodes.capacity, {source}.capacity)"
    return f"{sets}, capacity = greatest({source}.capacity, nodes.active_jobs), {most}"


async def take_over(uow: UnitOfWork, rows: Sequence[NewNode]) -> dict[str, str]:
    """Give nodes that the chain made to those who register their wallets; ``wallet → id`` of those that were.

    ``rows`` have a wallet each. Their ids are not used.
    """
    given = await uow.sql.fetch(
        f"""WITH r AS (SELECT * FROM json_to_recordset($1::json) AS r({_NEW_TYPES})),
        held AS (SELECT nodes.id FROM nodes JOIN r ON r.wallet = nodes.wallet WHERE {_FROM_CHAIN}
            ORDER BY nodes.id FOR NO KEY UPDATE OF nodes)
        UPDATE nodes SET {_taken_from("r")}, {_TOUCH} FROM r, held
        WHERE nodes.wallet = r.wallet AND nodes.id = held.id RETURNING nodes.wallet, nodes.id""",
        to_json(rows),
    )
    uow.hints.view = True
    return {row[0]: row[1] for row in given}


async def known_wallets(uow: UnitOfWork, wallets: Sequence[str]) -> set[str]:
    """Which of these wallets have a node."""
    rows = await uow.sql.fetch("SELECT wallet FROM nodes WHERE wallet = ANY($1::text[])", list(wallets))
    return {row[0] for row in rows}


async def insert_new(uow: UnitOfWork, rows: Sequence[NewNode], state: NodeState) -> set[str]:
    """Insert new nodes in ``state``, with their heartbeats; the ids inserted. Wallets that are taken are left out."""
    # In wallet order: two batches that name the same wallets in other orders would wait for each other.
    inserted = await uow.sql.fetch(
        f"""INSERT INTO nodes (id, account, wallet, state, gpu_model, gpus, vram_gb, capabilities, region, price,
            capacity, details)
        SELECT id, account, wallet, $2, gpu_model, gpus, vram_gb, capabilities, region, price, capacity, details
        FROM json_to_recordset($1::json) AS n({_NEW_TYPES})
        ORDER BY wallet ON CONFLICT (wallet) DO NOTHING RETURNING id""",
        to_json(rows),
        state.value,
    )
    uow.hints.view = True
    ids = {row[0] for row in inserted}
    await uow.sql.execute("INSERT INTO node_heartbeats (node_id) SELECT unnest($1::text[])", sorted(ids))
    return ids


_NEW_TYPES = (
    "id text, account text, wallet text, gpu_model text, gpus int2, vram_gb int2, capabilities int, region text, "
    "price int8, capacity int2, details jsonb"
)


async def move(uow: UnitOfWork, moves: Sequence[tuple[str, NodeState, NodeState]]) -> set[str]:
    """Guarded moves ``(node_id, from, to)``, one a node; the ids of those that won: the others had left ``from``."""
    rows = await uow.sql.fetch(
        f"""WITH u AS (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS u(id, source, target)),
        held AS (SELECT nodes.id FROM nodes JOIN u ON u.id = nodes.id AND u.source = nodes.state
            ORDER BY nodes.id FOR NO KEY UPDATE OF nodes)
        UPDATE nodes SET state = u.target, {_TOUCH} FROM u, held
        WHERE nodes.id = u.id AND nodes.id = held.id RETURNING nodes.id""",
        [node_id for node_id, _, _ in moves],
        [source.value for _, source, _ in moves],
        [target.value for _, _, target in moves],
    )
    uow.hints.view = True
    return {row[0] for row in rows}


async def lock(uow: UnitOfWork, ids: Sequence[str]) -> dict[str, NodeRecord]:
    """These nodes, locked in id order, waiting where another transaction holds one. Only at a wave's start."""
    rows = await uow.sql.fetch(
        f"SELECT {NODE_COLUMNS} FROM nodes WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE",
        sorted(ids),
    )
    return {row[0]: node_from(row) for row in rows}


async def lock_with_health(uow: UnitOfWork, ids: Iterable[str]) -> tuple[dict[str, NodeRecord], dict[str, Health]]:
    """As ``lock``, and each node's health."""
    rows = await uow.sql.fetch(
        f"SELECT {NODE_COLUMNS}, {_HEALTH} FROM nodes WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE",
        sorted(ids),
    )
    return {row[0]: node_from(row) for row in rows}, {row[0]: _health(row) for row in rows}


_HEALTH = "penalised_at, failures_in_row, suspensions, suspended_until"


def _health(row: Any) -> Health:
    return Health(
        row["penalty"],
        row["penalised_at"],
        row["failures_in_row"],
        row["trial"],
        row["suspensions"],
        row["suspended_until"],
    )


async def set_health(uow: UnitOfWork, healths: Mapping[str, Health]) -> dict[str, NodeRecord]:
    """Write the health of locked nodes; their rows as they are then."""
    rows = await uow.sql.fetch(
        f"""UPDATE nodes SET penalty = u.penalty, penalised_at = u.penalised_at, failures_in_row = u.failures_in_row,
            trial = u.trial, suspensions = u.suspensions, suspended_until = u.suspended_until, {_TOUCH}
        FROM unnest($1::text[], $2::int2[], $3::timestamptz[], $4::int2[], $5::int2[], $6::int2[], $7::timestamptz[])
            AS u(node_id, penalty, penalised_at, failures_in_row, trial, suspensions, suspended_until)
        WHERE nodes.id = u.node_id RETURNING {_WRITTEN}""",
        list(healths),
        [each.penalty for each in healths.values()],
        [each.penalised_at for each in healths.values()],
        [each.failures_in_row for each in healths.values()],
        [each.trial for each in healths.values()],
        [each.suspensions for each in healths.values()],
        [each.suspended_until for each in healths.values()],
    )
    uow.hints.view = True
    return {row[0]: node_from(row) for row in rows}


async def lock_decaying(uow: UnitOfWork, step: timedelta, limit: int) -> dict[str, Health]:
    """Nodes whose penalty stands for longer than ``step``, locked; those that a wave holds are left out."""
    rows = await uow.sql.fetch(
        f"""SELECT id, penalty, trial, {_HEALTH} FROM nodes
        WHERE penalty > 0 AND penalised_at <= now() - $1::interval
        ORDER BY penalised_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED""",
        step,
        limit,
    )
    return {row[0]: _health(row) for row in rows}


async def lock_cooled_down(uow: UnitOfWork, limit: int) -> list[tuple[str, str, NodeState]]:
    """Nodes whose suspension by the circuit breaker is over, ``(id, account, state)``, locked.

    Those that a wave holds are left out.
    """
    rows = await uow.sql.fetch(
        """SELECT id, account, state FROM nodes WHERE suspended_until <= now()
        ORDER BY suspended_until LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED""",
        limit,
    )
    return [(row[0], row[1], NodeState(row[2])) for row in rows]


async def shut_out(uow: UnitOfWork, ids: Sequence[str]) -> dict[str, datetime]:
    """Until when the circuit breaker shuts out each of these nodes; the others are left out."""
    rows = await uow.sql.fetch(
        "SELECT id, suspended_until FROM nodes WHERE id = ANY($1::text[]) AND suspended_until IS NOT NULL", list(ids)
    )
    return {row[0]: row[1] for row in rows}


async def forget_cooldown(uow: UnitOfWork, ids: Sequence[str]) -> None:
    """Take the circuit breaker's hand off these locked nodes: it is over, or somebody else has suspended them."""
    await uow.sql.execute(
        f"UPDATE nodes SET suspended_until = NULL, failures_in_row = 0, {_TOUCH} WHERE id = ANY($1::text[])", list(ids)
    )
    uow.hints.view = True


async def apply(uow: UnitOfWork, changes: Sequence[SlotChange]) -> dict[str, NodeRecord]:
    """Change the counters of locked nodes; their rows as they are then.

    The CHECK on ``active_jobs`` refuses what would leave 0..capacity.
    """
    if not changes:
        return {}
    rows = await uow.sql.fetch(
        f"""UPDATE nodes SET active_jobs = active_jobs + u.slots, jobs_completed = jobs_completed + u.completed,
            reputation = least(1000, reputation + u.completed), jobs_failed = jobs_failed + u.failed,
            response_ms = CASE WHEN u.response_ms = 0 THEN nodes.response_ms
                WHEN nodes.response_ms = 0 THEN u.response_ms
                ELSE (nodes.response_ms * 4 + u.response_ms) / 5 END, {_TOUCH}
        FROM json_to_recordset($1::json) AS u(node_id text, slots int2, completed int, failed int, response_ms int)
        WHERE nodes.id = u.node_id RETURNING {_WRITTEN}""",
        to_json(changes),
    )
    return {row[0]: node_from(row) for row in rows}


async def set_standing(uow: UnitOfWork, rows: Sequence[tuple[str, int, int, int, int]]) -> None:
    """Set ``(node_id, reputation, stake, jobs_completed, jobs_failed)`` of locked nodes."""
    await uow.sql.execute(
        f"""UPDATE nodes SET reputation = u.reputation, stake = u.stake, jobs_completed = u.completed,
            jobs_failed = u.failed, {_TOUCH}
        FROM unnest($1::text[], $2::int2[], $3::int8[], $4::int[], $5::int[])
            AS u(id, reputation, stake, completed, failed) WHERE nodes.id = u.id""",
        *(list(column) for column in zip(*rows, strict=True)),
    )
    uow.hints.view = True


async def states_of(uow: UnitOfWork, ids: Sequence[str]) -> dict[str, NodeState]:
    """The state of each of these nodes that exists."""
    rows = await uow.sql.fetch("SELECT id, state FROM nodes WHERE id = ANY($1::text[])", ids)
    return {row[0]: NodeState(row[1]) for row in rows}


async def get(uow: UnitOfWork, node_id: str, account: str | None) -> NodeRow | None:
    """A node; None when there is none or another account owns it (None = any account)."""
    return _row(
        await uow.sql.fetchrow(
            f"""SELECT {_QUALIFIED}, n.account, n.wallet, n.details, n.created_at, h.last_seen_at,
                n.suspended_until
            FROM nodes n LEFT JOIN node_heartbeats h ON h.node_id = n.id
            WHERE n.id = $1 AND ($2::text IS NULL OR n.account = $2)""",
            node_id,
            account,
        )
    )


async def by_wallet(uow: UnitOfWork, wallet: str, account: str) -> NodeRow | None:
    """The node of this wallet, if the account owns it."""
    return _row(
        await uow.sql.fetchrow(
            f"""SELECT {_QUALIFIED}, n.account, n.wallet, n.details, n.created_at, h.last_seen_at,
                n.suspended_until
            FROM nodes n LEFT JOIN node_heartbeats h ON h.node_id = n.id WHERE n.wallet = $1 AND n.account = $2""",
            wallet,
            account,
        )
    )


async def recent(uow: UnitOfWork, limit: int) -> list[NodeRow]:
    """The nodes registered last, newest first."""
    rows = await uow.sql.fetch(
        f"""SELECT {_QUALIFIED}, n.account, n.wallet, n.details, n.created_at, h.last_seen_at, n.suspended_until
        FROM nodes n LEFT JOIN node_heartbeats h ON h.node_id = n.id ORDER BY n.id DESC LIMIT $1""",
        limit,
    )
    return [found for row in rows if (found := _row(row))]


_QUALIFIED = ", ".join(f"n.{column.strip()}" for column in NODE_COLUMNS.split(","))


def _row(row: Any) -> NodeRow | None:
    if row is None:
        return None
    return NodeRow(
        node_from(row),
        row["account"],
        row["wallet"],
        row["details"],
        row["created_at"],
        row["last_seen_at"],
        row["suspended_until"],
    )
