"""The rows of the index in blocks of one GPU model each, alike in price and quality, with bounds that are kept current.

A search is fast because a block's rows are alike: a layout sorts the nodes by model, price strip and score. Nodes that
come later go where there is room in a block of their model and strip; when many have come, everything is laid out anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from app.core.errors import InvalidInput
from app.core.nodes import NodeRecord
from app.matchmaker import packing as p
from app.matchmaker.arrays import Codes, Positions, Scores, SmallInts
from app.matchmaker.bounds import Bounds, known_rows, open_rows
from app.matchmaker.columns import BLOCK, Columns, Rows
from app.matchmaker.layout import price_strip, price_strips
from app.matchmaker.scores import STALE, ScoreBound, scores_of, terms_at, unpacked
from app.matchmaker.still import Still
from app.matchmaker.terms import Terms
from app.matchmaker.weights import Weights

NO_MODEL: Final = -1
_FEW: Final = 64
"""Blocks of one model up to which newcomers go to any of them: a strip of its own would leave blocks half empty."""


class BlockTable:
    """Columns, the blocks they are cut into, and what is known of each block.

    ``open``: bounds over rows that can take a job now; ``known``: over all nodes that are not deregistered.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.quality = weights.quality
        self._weight = sum(weights.quality)
        self.models = Codes()
        self.regions = Codes()
        self._reset(1)

    def _reset(self, blocks: int) -> None:
        self.columns = Columns(blocks)
        self.open, self.known = Bounds(blocks), Bounds(blocks)
        self.block_model: SmallInts = np.full(blocks, NO_MODEL, np.int32)
        self.block_count: SmallInts = np.zeros(blocks, np.int32)
        self.used = 0
        self.ids: list[str] = [""] * (blocks * BLOCK)
        self._score_bounds: dict[Terms, ScoreBound] = {}
        self._stale: set[int] = set()
        # Of slots that were adjusted since their row was written: the weighted sum of their terms but the load.
        self._bases: dict[int, int] = {}
        self._rooms: dict[tuple[int, int], int] = {}
        self._spare: list[int] = []
        self._newcomers = 0
        self._of_models: dict[tuple[int, ...] | None, Positions] = {}
        self.wrote()

    def wrote(self) -> None:
        """Note that rows changed: what was derived from them for many queries is void."""
        self._rows: Rows | None = None
        self.writes = getattr(self, "writes", 0) + 1
        self.void_standings()

    def void_standings(self) -> None:
        """Note that slots may have become better: what was kept of searches (standing.py) is void."""
        self.lowered_slots: list[int] = []
        self.standings_void = getattr(self, "standings_void", 0) + 1

    @property
    def rows(self) -> Rows:
        """All slots unpacked, for full scans."""
        if self._rows is None:
            self._rows = Rows(self.columns, self.block_model[: self.used], self.used * BLOCK)
        return self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, bounds and the reserve for growth included; the directory of ids is not."""
        own = self.columns.nbytes + self.open.nbytes + self.known.nbytes
        extra = sum(bound.best.nbytes for bound in self._score_bounds.values())
        return own + extra + self.block_model.nbytes + self.block_count.nbytes

    def blocks_of(self, models: tuple[int, ...] | None) -> Positions:
        """The blocks of these models, None = of any, in no order."""
        found = self._of_models.get(models)
        if found is None:
            of = self.block_model[: self.used]
            mask = of != NO_MODEL if models is None else np.isin(of, models)
            found = self._of_models[models] = np.flatnonzero(mask)
        return found

    def score_bound(self, quality: Terms) -> Scores:
        """The highest score of each block's open rows under these weights."""
        if quality == self.quality:
            return self.open.score
        bound = self._score_bounds.get(quality)
        if bound is None:
            bound = self._score_bounds[quality] = ScoreBound(quality, len(self.block_model))
            bound.settle(self.columns, np.arange(len(self.block_model)))
        elif len(bound.stale) >= STALE:
            bound.settle(self.columns, np.fromiter(bound.stale, np.intp, len(bound.stale)))
        return bound.best

    def scores(self, slots: Positions, quality: Terms) -> Scores:
        """The scores of these slots under these weights."""
        if quality == self.quality:
            return self.columns.score[slots]
        return scores_of(self.columns, slots, quality)

    def terms(self, slot: int) -> Terms:
        return terms_at(self.columns, slot)

    def record(self, slot: int) -> NodeRecord:
        """The node in a slot, as it is held."""
        return self.still([slot]).record(0, self.ids[slot])

    def still(self, slots: list[int]) -> Still:
        """These slots as they stand now."""
        at = np.array(slots, np.intp)
        models = [self.models.names[code] for code in self.block_model[at // BLOCK].tolist()]
        return Still(self.columns, at, models, self.regions.names)

    def region_code(self, name: str) -> int:
        """The region's code; raises InvalidInput when there are more regions than the index can tell apart."""
        code = self.regions.code(name)
        if code > p.REGION.most:
            raise InvalidInput(f"more than {p.REGION.most} different regions", field="region")
        return code

    # Keeping the bounds.

    def refresh(self, slots: Positions) -> None:
        """Score these slots anew and make the bounds of their blocks exact."""
        self.columns.score[slots] = scores_of(self.columns, slots, self.quality)
        if self._bases:
            for slot in slots.tolist():
                self._bases.pop(slot, None)
        self._settle(np.unique(slots // BLOCK), known=True)

    def lowered(self, slot: int) -> None:
        """A slot has become worse: its block's bounds still hold, and may be too generous."""
        self.lowered_slots.append(slot)
        block = slot // BLOCK
        self._stale.add(block)
        for bound in self._score_bounds.values():
            bound.stale.add(block)

    def reload(self, slot: int, load: int) -> int:
        """Score a slot anew of which only the load has changed; ``load``: the term. Returns the score."""
        base = self._bases.get(slot)
        if base is None:
            unloaded = self.quality._replace(load=0)
            base = sum(weight * term for weight, term in zip(unloaded, self.terms(slot), strict=True))
            self._bases[slot] = base
        score = (base + self.quality.load * load) // self._weight
        self.columns.score[slot] = score
        return score

    def raised(self, slot: int, score: int) -> None:
        """A slot may have become better: the bounds must cover it at once. ``score``: under the network's weights."""
        self.void_standings()
        columns, block = self.columns, slot // BLOCK
        have = int(columns.have[slot])
        if not p.FREE.of(have) or not p.LIVE.of(have):
            return
        price, traits = int(columns.price[slot]), int(columns.traits[slot])
        self.open.raise_to(block, have=have, traits=traits, price=price, score=score)
        for bound in self._score_bounds.values():
            bound.cover(block, self.terms(slot))

    def tighten(self) -> None:
        """Look anew at the blocks that became worse, once there are enough of them to make it cheap."""
        if len(self._stale) >= STALE:
            self._settle(np.fromiter(self._stale, np.intp, len(self._stale)), known=False)

    def _settle(self, blocks: Positions, *, known: bool) -> None:
        columns = self.columns
        have = columns.have_blocks[blocks]
        traits, price = columns.traits_blocks[blocks], columns.price.reshape(-1, BLOCK)[blocks]
        score = columns.score.reshape(-1, BLOCK)[blocks]
        self.open.set(blocks, open_rows(have), have=have, traits=traits, price=price, score=score)
        if known:
            self.known.set(blocks, known_rows(have), have=have, traits=traits, price=price, score=score)
            for bound in self._score_bounds.values():
                bound.settle(columns, blocks)
        self._stale.difference_update(blocks.tolist())

    # Where nodes sit.

    def take_slot(self, node_id: str, model: int, price: int) -> int:
        """A slot for a new node; what it holds is to be written, and refreshed, by the caller."""
        many = self.blocks_of((model,)).size > _FEW
        key = (model, price_strip(price) if many else 0)
        block = self._rooms.get(key)
        if block is None or self.block_model[block] != model or self.block_count[block] == BLOCK:
            block = self._rooms[key] = self._new_block(model)
        within = self.columns.have[block * BLOCK : (block + 1) * BLOCK]
        slot = block * BLOCK + int(np.argmax(unpacked(within, p.STATE) == p.VACANT))
        # Taken from now on, though nothing else is known of it yet: the next newcomer must not get it, too.
        self.columns.have[slot] = p.GUARD | p.DEREGISTERED << p.STATE.shift
        self.block_count[block] += 1
        self.ids[slot] = node_id
        self._newcomers += 1
        return slot

    def vacate(self, slot: int) -> None:
        """Empty a slot; it may be taken again."""
        block = slot // BLOCK
        self.columns.have[slot] = p.EMPTY
        self.columns.traits[slot] = 0
        self.columns.seen[slot] = 0
        self.ids[slot] = ""
        self.block_count[block] -= 1
        self._settle(np.array([block]), known=True)
        model = int(self.block_model[block])
        if self.block_count[block]:
            strip = price_strip(int(self.columns.price[slot])) if self.blocks_of((model,)).size > _FEW else 0
            self._rooms[model, strip] = block
        else:
            self.block_model[block] = NO_MODEL
            self._spare.append(block)
            self._of_models.clear()
        self._bases.pop(slot, None)
        self.wrote()

    def _new_block(self, model: int) -> int:
        if self._spare:
            block = self._spare.pop()
        else:
            block = self.used
            if block == len(self.block_model):
                self._grow(block + 1 + block // 16)
            self.used += 1
        self.block_model[block] = model
        self._of_models.clear()
        self.wrote()
        return block

    def _grow(self, blocks: int) -> None:
        more = blocks - len(self.block_model)
        self.columns = self.columns.grown(blocks)
        self.open, self.known = self.open.grown(blocks), self.known.grown(blocks)
        self.block_model = np.concatenate([self.block_model, np.full(more, NO_MODEL, np.int32)])
        self.block_count = np.concatenate([self.block_count, np.zeros(more, np.int32)])
        self.ids.extend([""] * (more * BLOCK))
        # Rare enough for these to be made anew.
        self._score_bounds.clear()

    # Laying everything out.

    def lay_out(self, ids: Sequence[str], models: Any, columns: dict[str, Any]) -> dict[str, int]:
        """Put all these nodes into blocks of their model, sorted by price strip and score; their slots by id.

        ``columns``: the arrays of Columns but ``score``, one entry a node; ``models``: codes.
        """
        count = len(ids)
        flat = Columns(-(-count // BLOCK))
        for name, column in columns.items():
            flat.column(name)[:count] = column
        scores = scores_of(flat, np.arange(count), self.quality)
        order = np.lexsort((-scores, price_strips(flat.price[:count]), models))
        sizes = np.bincount(models, minlength=1) if count else np.zeros(1, np.int64)
        blocks = -(-sizes // BLOCK)
        total = int(blocks.sum())
        self._reset(max(1, total))
        self.used = total
        starts = np.cumsum(blocks) - blocks
        self.block_model[:total] = np.repeat(np.arange(len(sizes)), blocks)
        # The n-th node of a model sits in the n-th slot of the model's blocks.
        ranks = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        slots = np.repeat(starts, sizes) * BLOCK + ranks
        for name in columns:
            self.columns.column(name)[slots] = flat.column(name)[order]
        self.columns.score[slots] = scores[order]
        self.block_count[: max(1, total)] = np.bincount(slots // BLOCK, minlength=max(1, total))
        placed = dict(zip([ids[at] for at in order.tolist()], slots.tolist(), strict=True))
        for node_id, slot in placed.items():
            self.ids[slot] = node_id
        for start in range(0, total, 512):
            self._settle(np.arange(start, min(start + 512, total)), known=True)
        return placed

    def disordered(self) -> bool:
        """Whether so many nodes came one by one since the last layout that a new one pays."""
        return self._newcomers > max(16 * BLOCK, self.used * BLOCK // 8)

    def rebuilt(self) -> dict[str, int]:
        """Lay the present nodes out anew; their slots by id."""
        slots = np.flatnonzero(unpacked(self.columns.have, p.STATE) != p.VACANT)
        names = [name for name in Columns.NAMES if name != "score"]
        kept = {name: self.columns.column(name)[slots] for name in names}
        return self.lay_out([self.ids[slot] for slot in slots.tolist()], self.block_model[slots // BLOCK], kept)
