"""Claims on slots of nodes, a batch in one statement: the only place where slots are taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from app.core.errors import Conflict, InvalidInput
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.store.db import UnitOfWork
from app.store.rows import NODE_COLUMNS, node_from

MAX_BATCH: Final = 256
"""Wants in one statement at most."""


@dataclass(frozen=True, slots=True)
class Want:
    """One job's claim on ``requirements.gpus`` slots of a node. ``id`` is the claimant's own, unique in its batch."""

    id: str
    node_id: str
    requirements: Requirements


@dataclass(slots=True)
class Claimed:
    """What became of a batch. ``granted``: ids of wants. ``nodes``: each node's true row, the batch's slots included.

    ``contended``: nodes that another transaction holds. ``gone``: ids that no node has. ``taken``: slots that the batch
    took of a node, for nodes it took some of.
    """

    granted: set[str] = field(default_factory=set)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    contended: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)


async def claim(uow: UnitOfWork, wants: Sequence[Want], *, floor: int = 0, wait: bool = True) -> Claimed:
    """Grant or refuse every want on the true rows of its node, which stay locked until the transaction ends.

    The wants on one node are served in the order of the batch: each is granted if the node is online, meets its
    requirements and the network's ``floor`` on reputation, and has enough slots left after those granted before it. A
    refused want takes nothing from those after it. A node on trial takes one job at a time.

    The nodes are locked in id order. With ``wait`` unset, nodes held elsewhere are ``contended`` and not waited for:
    for callers that hold other locks. Raises InvalidInput for more than MAX_BATCH wants.
    """
    if len(wants) > MAX_BATCH:
        raise InvalidInput(f"a batch holds at most {MAX_BATCH} claims, not {len(wants)}")
    asked = [want.requirements for want in wants]
    rows = await uow.sql.fetch(
        _WAITING if wait else _SKIPPING,
        [want.node_id for want in wants],
        [_BETWEEN.join(one.gpu_models) for one in asked],
        [one.gpus for one in asked],
        [one.min_vram_gb for one in asked],
        [one.capabilities for one in asked],
        [one.region for one in asked],
        [max(one.min_reputation, floor) for one in asked],
        [one.max_price for one in asked],
    )
    claimed = Claimed()
    for row in rows:
        node = node_from(row)
        if row["taken"]:
            node.active_jobs += row["taken"]
            node.version += 1
            claimed.taken[node.id] = row["taken"]
            claimed.granted.update(wants[number - 1].id for number in row["granted"])
        claimed.nodes[node.id] = node
    missing = {want.node_id for want in wants} - claimed.nodes.keys()
    if missing:
        claimed.contended = await _existing(uow, missing) if not wait else set()
        claimed.gone = missing - claimed.contended
    return claimed


def before(node: NodeRecord, taken: int) -> NodeRecord:
    """The row of ``claim`` without the ``taken`` slots of its batch: as the statement found it."""
    return replace(node, active_jobs=node.active_jobs - taken, version=node.version - 1) if taken else node


async def release(uow: UnitOfWork, slots: Iterable[tuple[str, int]]) -> None:
    """Give ``(node_id, slots)`` back, one entry a node, locking in id order.

    Raises Conflict when a node is not there; the CHECK on ``active_jobs`` refuses more than is taken.
    """
    given = sorted(slots)
    written = await uow.sql.fetchval(
        f"""WITH u AS (SELECT * FROM unnest($1::text[], $2::int[]) AS u(id, slots)),
        held AS (SELECT id, active_jobs, capacity, version FROM nodes WHERE id = ANY($1::text[])
            ORDER BY id FOR NO KEY UPDATE),
        done AS (UPDATE nodes SET active_jobs = held.active_jobs - u.slots, {_FROM_HELD} FROM u JOIN held USING (id)
            WHERE nodes.id = u.id RETURNING 1)
        SELECT count(*) FROM done""",
        [node_id for node_id, _ in given],
        [count for _, count in given],
    )
    if written != len(given):
        raise Conflict(f"{len(given) - written} of {len(given)} nodes are not there", code="node_gone")


async def _existing(uow: UnitOfWork, ids: Iterable[str]) -> set[str]:
    rows = await uow.sql.fetch("SELECT id FROM nodes WHERE id = ANY($1::text[])", list(ids))
    return {row[0] for row in rows}


_BETWEEN = "\x1f"
"""Between the names of models: arrays of arrays would all have to be of one length."""

# An UPDATE reads the row as of the statement's start, and its CHECKs are tried on that before it finds the row that was
# waited for. So all that the CHECK on slots reads comes from the locked row.
_FROM_HELD = "capacity = held.capacity, version = held.version + 1, changed_in = pg_current_xact_id()::text::bigint"


def _statement(skip: str) -> str:
    """Lock, check, serve, write and report.

    Nodes with enough for all their wants, nearly all of them, are served at once; in `crowded` are the wants of the
    others, which `served` goes through in turn: `room` is what each leaves.
    """
    return f"""
    WITH RECURSIVE held AS MATERIALIZED (SELECT {NODE_COLUMNS} FROM nodes WHERE id = ANY($1::text[])
        ORDER BY id FOR NO KEY UPDATE {skip}),
    fitting AS MATERIALIZED (SELECT n.id, w.number, w.slots, n.trial > 0 AS trial,
            n.capacity - n.active_jobs AS free, sum(w.slots) OVER (PARTITION BY n.id) AS wanted,
            row_number() OVER (PARTITION BY n.id ORDER BY w.number) AS turn
        FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::int8[], $6::text[], $7::int[], $8::int8[])
            WITH ORDINALITY AS w(id, models, slots, vram, capabilities, region, reputation, price, number)
        JOIN held n USING (id)
        WHERE n.state = 'online' AND (w.models = '' OR n.gpu_model = ANY(string_to_array(w.models, '{_BETWEEN}')))
            AND n.gpus >= w.slots AND n.vram_gb >= w.vram AND n.capabilities & w.capabilities = w.capabilities
            AND (w.region = '' OR n.region = w.region) AND n.reputation >= w.reputation
            AND (w.price IS NULL OR n.price <= w.price) AND n.capacity - n.active_jobs >= w.slots
            AND (n.trial = 0 OR n.active_jobs = 0)),
    served AS (SELECT id, turn, number, slots, true AS won, CASE WHEN trial THEN 0 ELSE free - slots END AS room
        FROM fitting WHERE turn = 1 AND (wanted > free OR trial)
        UNION ALL
        SELECT c.id, c.turn, c.number, c.slots, c.slots <= s.room,
            CASE WHEN c.slots <= s.room THEN s.room - c.slots ELSE s.room END
        FROM served s JOIN fitting c ON c.id = s.id AND c.turn = s.turn + 1 WHERE s.room > 0),
    won AS (SELECT id, number, slots FROM fitting WHERE wanted <= free AND NOT trial
        UNION ALL SELECT id, number, slots FROM served WHERE won),
    taken AS MATERIALIZED (SELECT id, sum(slots)::int AS taken, array_agg(number) AS granted FROM won GROUP BY id),
    done AS (UPDATE nodes SET active_jobs = held.active_jobs + t.taken, {_FROM_HELD} FROM taken t JOIN held USING (id)
        WHERE nodes.id = t.id RETURNING t.id, t.taken, t.granted)
    SELECT held.*, done.taken, done.granted FROM held LEFT JOIN done USING (id)"""


_WAITING = _statement("")
_SKIPPING = _statement("SKIP LOCKED")
