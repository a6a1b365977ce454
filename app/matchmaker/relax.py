"""What single change of a job's requirements would find it a node now: one scan over all nodes.

A node counts for a change when that one requirement is all that it fails: it is online, has the slots free and meets
everything else. Each change is the smallest of its kind: anything less would not open a single node.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.core.money import format_hyper
from app.core.requirements import Capability, Requirements, capability_names
from app.matchmaker import types as t
from app.matchmaker.arrays import Ints, Positions
from app.matchmaker.filters import requirement_steps
from app.matchmaker.packing import DEREGISTERED, VACANT
from app.matchmaker.types import Query
from app.matchmaker.view import NodeView

Value: TypeAlias = int | str | list[str]

ANY: Final = "any"
_ALL_CAPABILITIES: Final = sum(Capability)


@dataclass(frozen=True, slots=True)
class Relaxation:
    """One change and the nodes that it would open now, at least one.

    ``requirement``: the input of a job that it is about, or ``excluded``, the number of nodes that are not asked again.
    ``before`` and ``after``: values of that input, as an agent would send them. ``text``: all of it in words.
    """

    requirement: str
    before: Value
    after: Value
    nodes: int
    text: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would place a job. ``relaxations``: those that open most first. ``busy`` and ``offline``: nodes that meet
    every requirement and lack nothing but free slots, or are away; they need patience, no change. ``witness``: one node
    that shows why the job waits (busy, else away, else excluded), empty when none would do."""

    relaxations: list[Relaxation] = field(default_factory=list)
    busy: int = 0
    offline: int = 0
    witness: str = ""


def outlook(view: NodeView, query: Query, held: Collection[str] = ()) -> Outlook:
    """What would give the query's job a node now, on the view as it stands.

    ``held``: nodes to count as busy, whatever the view says of them.
    """
    rows, asked = view.rows, query.requirements
    floor = view.min_reputation
    steps = dict(requirement_steps(rows, asked, floor, view.models, view.regions))
    enough = steps.pop(t.GPU_COUNT) & (rows.capacity >= asked.gpus)
    missed = np.zeros(len(rows.online), np.uint8)
    for passing in steps.values():
        missed += ~passing
    fits = missed == 0
    free = rows.free
    if held:
        free = free.copy()
        free[view.slots_of(held)] = 0
    allowed = np.ones(len(rows.online), np.bool_)
    allowed[view.slots_of(query.excluded)] = False
    ready = rows.online & enough & (free >= asked.gpus)
    nearly = ready & allowed & (missed == 1)
    changes: list[Relaxation] = []
    for name, passing in steps.items():
        at = np.flatnonzero(nearly & ~passing)
        if len(at):
            changes += _CHANGES[name](view, asked, at)
    changes += _fewer_gpus(asked, np.minimum(rows.gpus, free)[rows.online & allowed & fits])
    changes += _excluded_again(len(set(query.excluded)), int(np.count_nonzero(ready & ~allowed & fits)))
    suits = fits & enough & (rows.state != VACANT) & (rows.state != DEREGISTERED)
    busy = np.flatnonzero(suits & allowed & rows.online & (free < asked.gpus))
    offline = np.flatnonzero(suits & allowed & ~rows.online)
    shown = next((at[0] for at in (busy, offline, np.flatnonzero(suits & ~allowed)) if len(at)), None)
    return Outlook(
        sorted(changes, key=lambda change: -change.nodes),
        len(busy),
        len(offline),
        "" if shown is None else view.ids[shown],
    )


def _models(view: NodeView, asked: Requirements, at: Positions) -> Iterator[Relaxation]:
    before = list(asked.gpu_models)
    best, count = _most(view.rows.gpu_model[at], view.models.names)
    if best:
        after = sorted([*before, best])
        yield _told("gpu_models", "gpu models", before, after, count, f"{' or '.join(before)} → {' or '.join(after)}")
    if len(at) > count:
        yield _told("gpu_models", "gpu models", before, [], len(at), f"{' or '.join(before)} → {ANY}")


def _region(view: NodeView, asked: Requirements, at: Positions) -> Iterator[Relaxation]:
    best, count = _most(view.rows.region[at], view.regions.names)
    if best:
        yield _told("region", "region", asked.region, best, count)
    if len(at) > count:
        yield _told("region", "region", asked.region, "", len(at), f"{asked.region} → {ANY}")


def _vram(view: NodeView, asked: Requirements, at: Positions) -> Iterator[Relaxation]:
    most, count = _highest(view.rows.vram_gb[at])
    yield _told("min_vram_gb", "vram", asked.min_vram_gb, most, count)


def _reputation(view: NodeView, asked: Requirements, at: Positions) -> Iterator[Relaxation]:
    reached = view.rows.reputation[at]
    reached = reached[reached >= view.min_reputation]
    # Below the network's floor nobody may ask.
    if len(reached):
        most, count = _highest(reached)
        yield _told("min_reputation", "reputation", asked.min_reputation, most, count)


def _capabilities(view: NodeView, asked: Requirements, at: Positions) -> Iterator[Relaxation]:
    if asked.capabilities & ~_ALL_CAPABILITIES:
        return
    lacking = _counts(asked.capabilities & ~view.rows.capabilities[at])
    _, count, dropped = min((mask.bit_count(), -count, mask) for mask, count in lacking)
    before, without = capability_names(asked.capabilities), capability_names(dropped)
    after = [name for name in before if name not in without]
    yield _told("capabilities", "capabilities", before, after, -count, f"without {' and '.join(without)}")


def _price(view: NodeView, asked: Requirements, at: Positions) -> Iterator[Relaxation]:
    prices = view.rows.price[at]
    half = int(np.partition(prices, (len(prices) - 1) // 2)[(len(prices) - 1) // 2])
    # A second step, to the price that half of the nodes would take, where that is worth telling.
    opened = 0
    for ceiling in (int(prices.min()), half):
        count = int(np.count_nonzero(prices <= ceiling))
        if count >= 2 * opened:
            before, after = format_hyper(asked.max_price or 0), format_hyper(ceiling)
            yield _told("max_price_per_gpu_hour_hyper", "max price", before, after, count)
        opened = count


def _fewer_gpus(asked: Requirements, usable: Ints) -> Iterator[Relaxation]:
    usable = usable[(usable >= 1) & (usable < asked.gpus)]
    if len(usable):
        most, count = _highest(usable)
        yield _told("gpus", "gpus", asked.gpus, most, count)


def _excluded_again(excluded: int, nodes: int) -> Iterator[Relaxation]:
    if nodes:
        text = f"asking those again that declined or failed it: {nodes_told(nodes)}"
        yield Relaxation("excluded", excluded, excluded - nodes, nodes, text)


def _told(
    requirement: str, label: str, before: Value, after: Value, nodes: int, change: str | None = None
) -> Relaxation:
    said = f"{before} → {after}" if change is None else change
    return Relaxation(requirement, before, after, nodes, f"{label} {said}: {nodes_told(nodes)}")


def nodes_told(count: int) -> str:
    """A number of nodes in words."""
    return f"{count} node{'' if count == 1 else 's'}"


def _highest(values: Ints) -> tuple[int, int]:
    """The highest value and how often it is there."""
    most = int(values.max())
    return most, int(np.count_nonzero(values == most))


def _most(codes: NDArray[np.integer], names: Sequence[str]) -> tuple[str, int]:
    """The name that most codes stand for, the first of equals, and their number; a node without a name counts not."""
    named = [(-count, names[code]) for code, count in _counts(codes) if names[code]]
    count, name = min(named, default=(0, ""))
    return name, -count


def _counts(values: NDArray[np.integer]) -> list[tuple[int, int]]:
    distinct, counts = np.unique(values, return_counts=True)
    return list(zip(distinct.tolist(), counts.tolist(), strict=True))


_CHANGES = {
    t.GPU_MODEL: _models,
    t.VRAM: _vram,
    t.CAPABILITIES: _capabilities,
    t.REGION: _region,
    t.REPUTATION: _reputation,
    t.PRICE: _price,
}
