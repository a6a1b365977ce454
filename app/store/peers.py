"""SQL that benchmarks need and the engine does not: filling the nodes table, and what matches are measured against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.store.copying import copy_rows
from app.store.db import UnitOfWork
from app.store.rows import NODE_COLUMNS

_LOADED = tuple(name.strip() for name in NODE_COLUMNS.split(","))


async def load_nodes(uow: UnitOfWork, records: Iterable[NodeRecord]) -> None:
    """Insert these nodes and their heartbeats, heard just now. Their ids must be new."""
    rows = list(records)
    await copy_rows(
        uow,
        "nodes",
        (*_LOADED, "account", "wallet"),
        [(*(getattr(row, name) for name in _LOADED), "bench", f"wallet-{row.id}") for row in rows],
    )
    await copy_rows(uow, "node_heartbeats", ("node_id",), [(row.id,) for row in rows])


async def slots_of(uow: UnitOfWork) -> dict[str, tuple[int, int]]:
    """``(active_jobs, capacity)`` of every node."""
    return {row[0]: (row[1], row[2]) for row in await uow.sql.fetch("SELECT id, active_jobs, capacity FROM nodes")}


async def slots_offered(uow: UnitOfWork) -> dict[str, int]:
    """Slots that offers hold of each node."""
    rows = await uow.sql.fetch("SELECT node_id, sum(slots)::int FROM offers WHERE holds_slots GROUP BY node_id")
    return {row[0]: row[1] for row in rows}


async def drop_offers(uow: UnitOfWork) -> None:
    """Forget every offer. What they hold is the caller's to release."""
    await uow.sql.execute("TRUNCATE offers")


async def heard_since(uow: UnitOfWork, moment: datetime) -> int:
    """How many nodes were heard from after ``moment``."""
    heard: int = await uow.sql.fetchval("SELECT count(*) FROM node_heartbeats WHERE last_seen_at > $1", moment)
    return heard


MILLION: Final = 1_000_000
"""Fixed point, as the matchmaker's."""


async def prepare(
    uow: UnitOfWork,
    rows: Iterable[tuple[NodeRecord, int]],
    *,
    load_weight: int,
    weights: int,
    floor: int = 0,
) -> None:
    """Make the peers' table ``peer_nodes``, with the best indexes for both queries.

    ``rows``: nodes, each with the weighted sum of its score's terms, the load left out. ``load_weight`` and
    ``weights``: the load's weight and the sum of all weights; the score, which changes with the load, is a generated
    column. ``floor``: the network's least reputation. To be vacuumed before it is measured.
    """
    await uow.sql.execute(
        f"""CREATE TABLE peer_nodes (id text NOT NULL, gpu_model text NOT NULL, gpus int2 NOT NULL,
            vram_gb int2 NOT NULL, capabilities int4 NOT NULL, region text NOT NULL, reputation int2 NOT NULL,
            price int8 NOT NULL, free int2 NOT NULL, capacity int2 NOT NULL, base int8 NOT NULL, online bool NOT NULL,
            wallet text NOT NULL, jobs_completed int4 NOT NULL, jobs_failed int4 NOT NULL,
            last_seen_at timestamptz NOT NULL DEFAULT now() + interval '1 day',
            score int8 NOT NULL GENERATED ALWAYS AS
                ((base + {load_weight} * (free::int8 * {MILLION} / capacity)) / {weights}) STORED)"""
    )
    columns = (
        "id", "gpu_model", "gpus", "vram_gb", "capabilities", "region", "reputation", "price", "free", "capacity",
        "base", "online", "wallet", "jobs_completed", "jobs_failed",
    )  # fmt: skip
    await copy_rows(
        uow,
        "peer_nodes",
        columns,
        [
            (
                one.id, one.gpu_model, one.gpus, one.vram_gb, one.capabilities, one.region, one.reputation, one.price,
                one.free, one.capacity, base, one.state is NodeState.ONLINE and one.reputation >= floor,
                f"wallet-{one.id}", one.jobs_completed, one.jobs_failed,
            )
            for one, base in rows
        ],
    )  # fmt: skip
    # Every column that the queries read is in the index, so that they never visit the table.
    covered = "gpus, vram_gb, capabilities, region, reputation, free, id"
    await uow.sql.execute(
        f"""CREATE UNIQUE INDEX ON peer_nodes (id);
        CREATE INDEX ON peer_nodes (gpu_model, price) INCLUDE (score, {covered}) WHERE online;
        CREATE INDEX ON peer_nodes (gpu_model, score) INCLUDE (price, {covered}) WHERE online;
        CREATE INDEX ON peer_nodes (price) INCLUDE (gpu_model, score, {covered}) WHERE online;
        CREATE INDEX ON peer_nodes (score) INCLUDE (gpu_model, price, {covered}) WHERE online;
        CREATE INDEX ON peer_nodes (reputation DESC, jobs_completed DESC, vram_gb) WHERE online;
        ANALYZE peer_nodes"""
    )


async def exact_match(uow: UnitOfWork, asked: Requirements, percent: int, n: int = 5) -> list[tuple[str, int]]:
    """The ``n`` best nodes for these requirements with their totals, as reputation_weighted has it; ties by anything.

    ``percent``: the price's share of the total. Exact: the cheapest feasible price first, then the best totals among
    all feasible nodes. The filters that are asked for alone are in the statement.
    """
    where, values = _where(asked)
    rows = await uow.sql.fetch(
        f"""WITH f AS NOT MATERIALIZED (SELECT id, score, price FROM peer_nodes WHERE {where}),
        cheapest AS MATERIALIZED (SELECT price FROM f ORDER BY price LIMIT 1)
        SELECT id, {_total(percent)} AS total FROM f ORDER BY total DESC LIMIT {n}""",
        *values,
    )
    return [(row[0], row[1]) for row in rows]


async def pruned_match(uow: UnitOfWork, asked: Requirements, percent: int, n: int = 5) -> list[tuple[str, int]]:
    """As exact_match, and as exact, but only over nodes whose score could win.

    The n-th best total of the 32 highest scores is a bound from below; a node whose score falls short of it even at the
    cheapest price cannot be among the best ``n``.
    """
    where, values = _where(asked)
    rows = await uow.sql.fetch(
        f"""WITH f AS NOT MATERIALIZED (SELECT id, score, price FROM peer_nodes WHERE {where}),
        cheapest AS MATERIALIZED (SELECT price FROM f ORDER BY price LIMIT 1),
        bound AS MATERIALIZED (SELECT {_total(percent)} AS total FROM (SELECT * FROM f ORDER BY score DESC
            LIMIT 32) AS best ORDER BY total DESC OFFSET {n - 1} LIMIT 1)
        SELECT id, {_total(percent)} AS total FROM f
        WHERE score >= (coalesce((SELECT total FROM bound), 0) * 100 - {percent * MILLION}) / {100 - percent}
        ORDER BY total DESC LIMIT {n}""",
        *values,
    )
    return [(row[0], row[1]) for row in rows]


async def change_load(uow: UnitOfWork, ids: Sequence[str], free: Sequence[int]) -> None:
    """Set the free slots of these nodes."""
    await uow.sql.execute(
        """UPDATE peer_nodes SET free = u.free FROM unnest($1::text[], $2::int2[]) AS u(id, free)
        WHERE peer_nodes.id = u.id""",
        ids,
        free,
    )


def _total(percent: int) -> str:
    # Within int8 up to 9,223 HYPER per GPU-hour as the cheapest price, which made-up networks keep to.
    return f"({100 - percent} * score + {percent} * ((SELECT price FROM cheapest) * {MILLION} / price)) / 100"


def _where(asked: Requirements) -> tuple[str, list[Any]]:
    values: list[Any] = []

    def given(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    tests = ["online", f"gpus >= {given(asked.gpus)}", f"free >= {given(asked.gpus)}"]
    if len(asked.gpu_models) == 1:
        tests.append(f"gpu_model = {given(asked.gpu_models[0])}")
    elif asked.gpu_models:
        tests.append(f"gpu_model = ANY({given(list(asked.gpu_models))}::text[])")
    if asked.min_vram_gb:
        tests.append(f"vram_gb >= {given(asked.min_vram_gb)}")
    if asked.capabilities:
        tests.append(f"capabilities & {asked.capabilities} = {asked.capabilities}")
    if asked.region:
        tests.append(f"region = {given(asked.region)}")
    if asked.min_reputation:
        tests.append(f"reputation >= {given(asked.min_reputation)}")
    if asked.max_price is not None:
        tests.append(f"price <= {given(asked.max_price)}")
    return " AND ".join(tests), values


async def legacy_match(uow: UnitOfWork, asked: Requirements) -> str | None:
    """The node that the engine before this one picked: of the 50 best-reputed it knew to be alive, its best by score.

    It reads 50 rows and scores them itself: 0.4 for reputation, 0.4 for the share of jobs completed, 0.2 for memory. It
    looks at neither GPU model nor capabilities nor free slots, and claims nothing. Its best index has the order and the
    filter on memory; with the last sign of life in it, too, every heartbeat would rewrite it.
    """
    wanted = asked.min_vram_gb
    rows: Sequence[Any] = await uow.sql.fetch(
        """SELECT id, wallet, gpu_model, vram_gb, reputation, last_seen_at, jobs_completed, jobs_failed FROM peer_nodes
        WHERE online AND last_seen_at > now() - interval '5 minutes' AND vram_gb >= $1
        ORDER BY reputation DESC, jobs_completed DESC LIMIT 50""",
        wanted,
    )
    scored = [
        (
            0.4 * reputation / 1000
            + 0.4 * completed / (completed + failed + 1)
            + 0.2 * (min(vram / wanted, 1) if wanted else 1),
            node_id,
        )
        for node_id, _, _, vram, reputation, _, completed, failed in rows
    ]
    return max(scored)[1] if scored else None
