"""What keeps views of the nodes current: all rows at a start, then those that changed, and the last signs of life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.nodes import NodeRecord
from app.core.states import NodeState
from app.store.db import UnitOfWork
from app.store.packed import Packed, native, read_packed, texts
from app.store.rows import NODE_COLUMNS, node_from

_STATES: Final = tuple(NodeState)
_ID: Final = Packed("id", "id", "S40")
_SMALL: Final = ("gpus", "vram_gb", "reputation", "capacity", "active_jobs", "penalty", "trial")
_MIDDLE: Final = ("capabilities", "jobs_completed", "jobs_failed", "response_ms")
_LARGE: Final = ("stake", "price", "version")
_PLAIN: Final = (*_SMALL, *_MIDDLE, *_LARGE)
_HASH: Final = "hashtextextended(gpu_model, 0)"
_NETWORK: Final = (
    _ID,
    Packed("region", "region", "S2"),
    Packed("state", "state", "S12"),
    Packed("gpu_model", _HASH, "i8"),
    *(Packed(name, name, "i2") for name in _SMALL),
    *(Packed(name, name, "i4") for name in _MIDDLE),
    *(Packed(name, name, "i8") for name in _LARGE),
)


@dataclass(slots=True)
class Network:
    """All nodes as columns of equal length, named as in NodeRecord; units and meanings as there.

    ``columns``: ``gpu_model`` and ``region`` hold positions in ``models`` and ``regions``, ``state`` in NodeState.
    """

    ids: list[str]
    models: list[str]
    regions: list[str]
    columns: dict[str, NDArray[Any]]


async def load_all(uow: UnitOfWork) -> tuple[Network | None, int]:
    """All nodes, and the horizon to ask from (changed_since). None where a row does not fit the packed form."""
    # Asked for before the rows: a horizon that is older than they are brings some of them twice and misses none.
    horizon: int = await uow.sql.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    rows = await read_packed(uow, _NETWORK, "nodes")
    if rows is None:
        return None, horizon
    # Names would be half of what is sent: their hashes are not. Two of one hash, or one that has gone: as a misfit.
    names = await uow.sql.fetch(f"SELECT {_HASH}, gpu_model FROM nodes GROUP BY gpu_model ORDER BY 1")
    hashes = np.array([row[0] for row in names], np.int64)
    models = native(rows, "gpu_model")
    places = np.searchsorted(hashes, models)
    if len(np.unique(hashes)) < len(hashes) or not np.array_equal(hashes[np.minimum(places, len(hashes) - 1)], models):
        return None, horizon
    regions, region = np.unique(rows["region"].copy().view(">u2"), return_inverse=True)
    states = np.full(len(rows), len(_STATES), np.uint8)
    for code, state in enumerate(_STATES):
        states[rows["state"] == state.value.ljust(12).encode()] = code
    columns = {name: native(rows, name) for name in _PLAIN}
    columns |= {"gpu_model": places, "region": region, "state": states}
    regions_read = [int(one).to_bytes(2, "big").decode().rstrip() for one in regions]
    return Network(texts(rows, "id"), [row[1] for row in names], regions_read, columns), horizon


async def changed_since(uow: UnitOfWork, since: int) -> tuple[list[NodeRecord], int]:
    """Nodes written by transactions at or above ``since`` (0 = all), and the horizon to ask from next time.

    Reading from the horizon, not from the last row seen, misses no late commit; rows may come twice.
    """
    # One statement, one snapshot: a horizon read separately could be newer than the rows.
    rows = await uow.sql.fetch(
        f"""SELECT {NODE_COLUMNS}, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon
        FROM nodes WHERE changed_in >= $1""",
        since,
    )
    if not rows:
        return [], since
    return [node_from(row) for row in rows], rows[0]["horizon"]


async def heard_since(uow: UnitOfWork, since_s: float) -> tuple[list[str], NDArray[np.int64]]:
    """Nodes heard of since then, and when at last: seconds of the database's clock (epoch), rounded up."""
    seen = Packed("seen", "ceil(extract(epoch FROM last_seen_at))::int8", "i8")
    source = f"node_heartbeats WHERE last_seen_at >= to_timestamp({since_s:.6f})"
    rows = await read_packed(uow, (_ID._replace(expression="node_id"), seen), source)
    if rows is None:
        return [], np.empty(0, np.int64)
    return texts(rows, "id"), native(rows, "seen").astype(np.int64)
