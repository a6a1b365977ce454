"""The hard requirements, over all nodes at a time and over a single record. Both follow types.FILTERS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker import types as t
from app.matchmaker.arrays import Codes, Mask
from app.matchmaker.batch import INT32_MAX
from app.matchmaker.columns import Rows


class Sieve:
    """A mask of the nodes still in play, and the count of those that fell at each filter."""

    __slots__ = ("left", "mask", "rejects")

    def __init__(self, mask: Mask, left: int) -> None:
        self.mask = mask
        self.left = left
        self.rejects: dict[str, int] = {}

    def copy(self) -> Sieve:
        """An independent sieve; masks are shared, as they are replaced and never changed."""
        other = Sieve(self.mask, self.left)
        other.rejects = dict(self.rejects)
        return other

    def drop(self, name: str, mask: Mask) -> None:
        """Go on with the nodes in ``mask``, a subset of the present ones; the others fell at ``name``."""
        left = int(np.count_nonzero(mask))
        if left < self.left:
            self.rejects[name] = self.left - left
            self.left = left
        self.mask = mask

    def keep(self, name: str, left: int) -> None:
        """Go on with ``left`` nodes, whichever they are; the others fell at ``name``."""
        if left < self.left:
            self.rejects[name] = self.left - left
            self.left = left

    def narrow(self, steps: Iterable[tuple[str, Mask]]) -> None:
        """Apply the filters one after the other, not computing those after the last node fell."""
        if self.left:
            for name, passing in steps:
                self.drop(name, self.mask & passing)
                if not self.left:
                    return


def requirement_steps(
    rows: Rows, asked: Requirements, floor: int, models: Codes, regions: Codes
) -> Iterator[tuple[str, Mask]]:
    """Filters from gpu_model to price, as (name, mask of the nodes that pass), each computed when drawn.

    Filters that the requirements leave open are left out. ``floor``: the network's least reputation.
    """
    if asked.gpu_models:
        yield t.GPU_MODEL, _any_model(rows, asked.gpu_models, models)
    yield t.GPU_COUNT, rows.gpus >= asked.gpus
    if asked.min_vram_gb > 0:
        yield t.VRAM, rows.vram_gb >= asked.min_vram_gb
    if asked.capabilities:
        yield t.CAPABILITIES, _all_capabilities(rows, asked.capabilities)
    if asked.region:
        code = regions.find(asked.region)
        yield t.REGION, _none(rows) if code is None else rows.region == code
    least = max(asked.min_reputation, floor)
    if least > 0:
        yield t.REPUTATION, rows.reputation >= least
    if asked.max_price is not None:
        yield t.PRICE, rows.price <= asked.max_price


def first_failure(record: NodeRecord, asked: Requirements, floor: int) -> str | None:
    """The first filter that one node fails, None if it can take the job now. Knows no exclusions."""
    checks = (
        (t.OFFLINE, record.state is NodeState.ONLINE),
        (t.GPU_MODEL, not asked.gpu_models or record.gpu_model in asked.gpu_models),
        (t.GPU_COUNT, record.gpus >= asked.gpus),
        (t.VRAM, record.vram_gb >= asked.min_vram_gb),
        (t.CAPABILITIES, record.capabilities & asked.capabilities == asked.capabilities),
        (t.REGION, not asked.region or record.region == asked.region),
        (t.REPUTATION, record.reputation >= max(asked.min_reputation, floor)),
        (t.PRICE, asked.max_price is None or record.price <= asked.max_price),
        (t.BUSY, record.free >= asked.gpus),
    )
    return next((name for name, passes in checks if not passes), None)


def _any_model(rows: Rows, names: Iterable[str], models: Codes) -> Mask:
    codes = [code for code in map(models.find, names) if code is not None]
    if not codes:
        return _none(rows)
    mask: Mask = rows.gpu_model == codes[0]
    for code in codes[1:]:
        mask |= rows.gpu_model == code
    return mask


def _all_capabilities(rows: Rows, wanted: int) -> Mask:
    # Masks beyond the column's type would overflow in the comparison, and no node has such a capability.
    if not 0 <= wanted <= INT32_MAX:
        return _none(rows)
    mask: Mask = (rows.capabilities & wanted) == wanted
    return mask


def _none(rows: Rows) -> Mask:
    return np.zeros(len(rows), np.bool_)
