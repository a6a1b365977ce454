"""chain_jobs and chain_nodes: what follows from the events. Only whoever holds the events' lock writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter

from app.core.chain import LinkedBy, OnChain, PaymentState
from app.store.copying import copy_rows
from app.store.db import UnitOfWork
from app.store.rows import to_json


@dataclass(slots=True)
class JobRow:
    """A job as it stands on chain. See the table's class for the fields; ``price`` in base units, a u64."""

    address: str
    chain_job_id: str
    client: str | None = None
    type: str | None = None
    price: int | None = None
    requirements_hash: str | None = None
    status: OnChain = OnChain.ORPHANED
    finalized: bool = False
    over: bool = False
    chain_node_id: str | None = None
    assigned_operator: str | None = None
    completed_operator: str | None = None
    result_hash: str | None = None
    logs_url: str | None = None
    payment: PaymentState = PaymentState.NONE
    payment_reason: str | None = None
    mismatch: str | None = None
    job_id: str | None = None
    linked_by: LinkedBy | None = None
    spec_due_at: datetime | None = None
    slot: int = 0

    def copy(self) -> JobRow:
        return JobRow(*_job_values(self))


@dataclass(slots=True)
class NodeRow:
    """A node as it stands on chain. ``stake``, ``jobs_completed`` and ``total_earned`` are u64."""

    address: str
    owner: str
    chain_node_id: str
    node_id: str | None = None
    gpu_specs_hash: str = ""
    location: str = ""
    stake: int = 0
    reputation: int = 100
    jobs_completed: int = 0
    total_earned: int = 0
    status: str | None = None
    registered: bool = False
    slot: int = 0

    def copy(self) -> NodeRow:
        return NodeRow(*_node_values(self))


_JOB = tuple(field.name for field in fields(JobRow))
_NODE = tuple(field.name for field in fields(NodeRow))
_job_values = attrgetter(*_JOB)
_node_values = attrgetter(*_NODE)
# By name in a dictionary: calling an enum's class costs as much as all the rest of a row.
_STATUS = {one.value: one for one in OnChain}
_PAYMENT = {one.value: one for one in PaymentState}
_LINKED = {one.value: one for one in LinkedBy}
_JOB_TYPES = {"price": "numeric", "finalized": "bool", "over": "bool", "spec_due_at": "timestamptz", "slot": "int8"}
_NODE_TYPES = {
    "stake": "numeric",
    "reputation": "int",
    "jobs_completed": "numeric",
    "total_earned": "numeric",
    "registered": "bool",
    "slot": "int8",
}


async def jobs(uow: UnitOfWork, addresses: Sequence[str]) -> dict[str, JobRow]:
    """The jobs at these addresses that are known."""
    rows = await uow.sql.fetch(f"SELECT {', '.join(_JOB)} FROM chain_jobs WHERE address = ANY($1::text[])", addresses)
    found = {}
    for row in rows:
        job = found[row[0]] = JobRow(*row)
        job.price = None if job.price is None else int(job.price)
        job.status, job.payment = _STATUS[job.status], _PAYMENT[job.payment]
        job.linked_by = None if job.linked_by is None else _LINKED[job.linked_by]
    return found


async def nodes(uow: UnitOfWork, addresses: Sequence[str]) -> dict[str, NodeRow]:
    """The nodes at these addresses that are known."""
    rows = await uow.sql.fetch(f"SELECT {', '.join(_NODE)} FROM chain_nodes WHERE address = ANY($1::text[])", addresses)
    found = {}
    for row in rows:
        node = found[row[0]] = NodeRow(*row)
        node.stake, node.jobs_completed, node.total_earned = map(
            int, (node.stake, node.jobs_completed, node.total_earned)
        )
    return found


async def save_jobs(uow: UnitOfWork, new: Sequence[JobRow], changed: Sequence[JobRow]) -> None:
    """Insert and update rows."""
    await copy_rows(uow, "chain_jobs", _JOB, map(_job_values, new))
    await _update(uow, "chain_jobs", _JOB, _JOB_TYPES, changed)


async def save_nodes(uow: UnitOfWork, new: Sequence[NodeRow], changed: Sequence[NodeRow]) -> None:
    """Insert and update rows."""
    await copy_rows(uow, "chain_nodes", _NODE, map(_node_values, new))
    await _update(uow, "chain_nodes", _NODE, _NODE_TYPES, changed)


async def _update(
    uow: UnitOfWork, table: str, columns: Sequence[str], types: dict[str, str], rows: Sequence[JobRow | NodeRow]
) -> None:
    if not rows:
        return
    sets = ", ".join(f"{column} = u.{column}" for column in columns[1:])
    typed = ", ".join(f"{column} {types.get(column, 'text')}" for column in columns)
    await uow.sql.execute(
        f"""UPDATE {table} t SET {sets}, version = t.version + 1, updated_at = now()
        FROM json_to_recordset($1::json) AS u({typed}) WHERE t.address = u.address""",
        to_json(rows),
    )


async def named(uow: UnitOfWork, kind: str, names: Sequence[str]) -> dict[str, set[str]]:
    """By name, the addresses of the jobs (or nodes, as ``kind`` says) that are called so: two at most, which is enough
    to know that a name is shared; anyone may use one a million times."""
    if not names:
        return {}
    table, column = _NAMED[kind]
    rows = await uow.sql.fetch(
        f"""SELECT n.name, t.address FROM unnest($1::text[]) AS n(name),
        LATERAL (SELECT address FROM {table} WHERE {column} = n.name LIMIT 2) t""",
        names,
    )
    found: dict[str, set[str]] = {}
    for name, address in rows:
        found.setdefault(name, set()).add(address)
    return found


async def names_of(uow: UnitOfWork, kind: str, addresses: Sequence[str]) -> dict[str, str]:
    """The names of those of the addresses that are known as jobs (or nodes)."""
    if not addresses:
        return {}
    table, column = _NAMED[kind]
    rows = await uow.sql.fetch(f"SELECT address, {column} FROM {table} WHERE address = ANY($1::text[])", addresses)
    return {row[0]: row[1] for row in rows}


_NAMED = {"job": ("chain_jobs", "chain_job_id"), "node": ("chain_nodes", "chain_node_id")}
