"""The nodes of the index: which one sits in which slot, kept current from the database's rows and their news."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from app.core.errors import Conflict, NotFound
from app.core.nodes import NodeRecord
from app.matchmaker import packing as p
from app.matchmaker.arrays import Ints, Mask, Positions, SmallWords, Words
from app.matchmaker.batch import NodeBatch, NodeDeltas, batch_of
from app.matchmaker.blocks import BlockTable
from app.matchmaker.columns import BLOCK
from app.matchmaker.packs import pack
from app.matchmaker.rank import hash_node
from app.matchmaker.scores import unpacked
from app.matchmaker.terms import load_term
from app.matchmaker.weights import Weights

_MANY: Final = BLOCK
"""From this many new nodes on, an empty table is laid out afresh rather than filled one by one."""
_VERSIONS: Final = 1 << 32


class NodeTable(BlockTable):
    """All nodes, online or not. Belongs to one thread. Scores are kept per node, so the weights are fixed for its life.

    ``offline_after_s``: seconds of silence after which a node is out of play without a word from the database;
    infinite until it is set. Nodes that were never heard of are not silent.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.offline_after_s = float("inf")
        self._slots: dict[str, int] = {}
        self._version = 0
        self._cut = 0
        self._next_silent = 0.0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._slots

    @property
    def version(self) -> int:
        """Rises with every call that changed something, ``adjust`` included."""
        return self._version

    def load(self, batch: NodeBatch) -> None:
        """Take over a whole network at once; what was held before is forgotten. Raises InvalidInput on a bad value."""
        batch.check()
        models = np.array([self.models.code(name) for name in batch.models] or [0], np.int32)[batch.gpu_model]
        have, traits = self._packed(batch, np.zeros(len(batch), np.uint32))
        columns: dict[str, Any] = {
            "have": have,
            "traits": traits,
            "price": batch.price,
            "stake": batch.stake,
            "completed": batch.jobs_completed,
            "failed": batch.jobs_failed,
            "response": batch.response_ms,
            "version": (batch.version & (_VERSIONS - 1)).astype(np.uint32),
            "tie": np.fromiter(map(hash_node, batch.ids), np.uint32, len(batch)),
            "seen": np.zeros(len(batch), np.uint32),
        }
        self._slots = self.lay_out(batch.ids, models, columns)
        self._changed()

    def upsert(self, records: Iterable[NodeRecord]) -> int:
        """Take over the records that are newer than what is held; returns the number of nodes that changed.

        Late, repeated and reordered records do no harm. Raises InvalidInput, with nothing changed, on a
        record whose fields are out of range. A removed node has no version any more: it comes back with any
        record.
        """
        return self._take(records, ahead=1)

    def heal(self, records: Iterable[NodeRecord]) -> int:
        """As upsert, and takes records of the held version too: true rows that undo ``adjust``."""
        return self._take(records, ahead=0)

    def apply(self, deltas: NodeDeltas) -> int:
        """Take over the news of known nodes that are newer than what is held; how many. Repeats do no harm."""
        latest: dict[str, int] = {}
        for place, node_id in enumerate(deltas.ids):
            before = latest.get(node_id)
            if node_id in self._slots and (before is None or deltas.version[place] > deltas.version[before]):
                latest[node_id] = place
        at = np.fromiter(latest.values(), np.intp, len(latest))
        slots = np.fromiter((self._slots[node_id] for node_id in latest), np.intp, len(latest))
        newer = _newer(deltas.version[at], self.columns.version[slots])
        capacity = unpacked(self.columns.have[slots], p.CAPACITY)
        newer &= (deltas.active_jobs[at] >= 0) & (deltas.active_jobs[at] <= capacity)
        at, slots, capacity = at[newer], slots[newer], capacity[newer]
        if not len(at):
            return 0
        columns = self.columns
        columns.completed[slots] = deltas.jobs_completed[at]
        columns.failed[slots] = deltas.jobs_failed[at]
        columns.response[slots] = deltas.response_ms[at]
        columns.version[slots] = (deltas.version[at] & (_VERSIONS - 1)).astype(np.uint32)
        columns.have[slots], columns.traits[slots] = pack(
            gpus=unpacked(columns.have[slots], p.GPUS),
            vram_gb=unpacked(columns.have[slots], p.VRAM),
            reputation=deltas.reputation[at],
            state=deltas.state[at],
            capacity=capacity,
            active=deltas.active_jobs[at],
            capabilities=unpacked(columns.traits[slots], p.CAPABILITIES),
            region=unpacked(columns.traits[slots], p.REGION),
            penalty=deltas.penalty[at],
            trial=deltas.trial[at],
            live=self._live(deltas.state[at], columns.seen[slots]),
        )
        self.refresh(slots)
        self._changed()
        return len(at)

    def remove(self, ids: Iterable[str]) -> int:
        """Forget these nodes; returns how many were there."""
        slots = [slot for node_id in ids if (slot := self._slots.pop(node_id, None)) is not None]
        for slot in slots:
            self.vacate(slot)
        if slots:
            self._changed()
        return len(slots)

    def adjust(self, node_id: str, slots: int) -> None:
        """Assume ``slots`` more active jobs on a node (fewer, if negative) until its next row comes.

        The node's version stays. Raises NotFound for an unknown node, and Conflict, with nothing changed,
        where active_jobs would leave 0..capacity.
        """
        slot = self._slots.get(node_id)
        if slot is None:
            raise NotFound(f"the view holds no node {node_id}")
        word, traits = int(self.columns.have[slot]), int(self.columns.traits[slot])
        capacity, active = p.CAPACITY.of(word), p.ACTIVE.of(word) + slots
        if not 0 <= active <= capacity:
            raise Conflict(f"node {node_id}: active_jobs would be {active}, not in 0..{capacity}")
        if not slots:
            return
        free = 0 if active and p.TRIAL.of(traits) else capacity - active
        word = word & ~(p.FREE.mask | p.ACTIVE.mask) | free << p.FREE.shift | active << p.ACTIVE.shift
        self.columns.have[slot] = word
        score = self.reload(slot, load_term(free, capacity))
        if slots > 0:
            self.lowered(slot)
        else:
            self.raised(slot, score)
        self._version += 1

    def rebuild(self) -> None:
        """Lay all nodes out anew, which makes searches faster after many newcomers; nothing else changes."""
        self._slots = self.rebuilt()

    def get(self, node_id: str) -> NodeRecord | None:
        """A copy of the node as it is held, adjustments included; None for an unknown one."""
        slot = self._slots.get(node_id)
        return None if slot is None else self.record(slot)

    def slots_of(self, ids: Iterable[str]) -> Positions:
        """The slots of those nodes that are held, in no order: for scans over ``rows``."""
        return np.array([self._slots[node_id] for node_id in ids if node_id in self._slots], np.intp)

    def hear(self, ids: Sequence[str], seen_s: Ints) -> int:
        """Note the last signs of life, in whole seconds of the database's clock; how many nodes came back by it."""
        known = [(slot, at) for at, node_id in enumerate(ids) if (slot := self._slots.get(node_id)) is not None]
        if not known:
            return 0
        slots, at = (np.array(column, np.intp) for column in zip(*known, strict=True))
        seen = np.clip(seen_s[at], 0, _VERSIONS - 1).astype(np.uint32)
        np.maximum.at(self.columns.seen, slots, seen)
        if self._cut:
            self._next_silent = min(self._next_silent, int(seen.min()) + self.offline_after_s)
        words = self.columns.have[slots]
        back = (words & np.uint64(p.LIVE.mask)) == 0
        back &= ((words >> np.uint64(p.STATE.shift)) & np.uint64(p.STATE.most)) == p.ONLINE
        back &= ~self._silent(self.columns.seen[slots])
        returned = np.unique(slots[back])
        if len(returned):
            self.columns.have[returned] |= np.uint64(p.LIVE.mask)
            self.refresh(returned)
            self._changed()
        return len(returned)

    def expire(self, now_s: float) -> int:
        """Take nodes out of play that were heard of, but not since ``offline_after_s`` before ``now_s``; how many."""
        if self.offline_after_s == float("inf"):
            return 0
        self._cut = max(0, int(np.ceil(now_s - self.offline_after_s)))
        if now_s < self._next_silent:
            return 0
        columns = self.columns
        live = (columns.have & np.uint64(p.LIVE.mask)) != 0
        heard = live & (columns.seen > 0)
        silent = np.flatnonzero(heard & self._silent(columns.seen))
        if len(silent):
            columns.have[silent] &= np.uint64(~p.LIVE.mask & (2**64 - 1))
            self.refresh(silent)
            self._changed()
            heard[silent] = False
        # After that, as nobody else can fall silent before the quietest of the rest.
        rest = columns.seen[heard]
        self._next_silent = int(rest.min()) + self.offline_after_s if len(rest) else float("inf")
        return len(silent)

    def _live(self, state: Any, seen: SmallWords) -> Mask:
        mask: Mask = (state == p.ONLINE) & ~self._silent(seen)
        return mask

    def _silent(self, seen: SmallWords) -> Mask:
        mask: Mask = (seen > 0) & (seen < self._cut)
        return mask

    def _take(self, records: Iterable[NodeRecord], ahead: int) -> int:
        accepted: dict[str, NodeRecord] = {}
        for record in records:
            held = self._held_version(record.id, accepted)
            if held is None or ahead <= (record.version - held) % _VERSIONS < _VERSIONS // 2:
                accepted[record.id] = record
        if not accepted:
            return 0
        batch = batch_of(list(accepted.values()))
        if not self._slots and len(batch) >= _MANY:
            self.load(batch)
            return len(batch)
        for record in accepted.values():
            self._place(record)
        self._write(batch)
        self._changed()
        return len(batch)

    def _held_version(self, node_id: str, accepted: dict[str, NodeRecord]) -> int | None:
        rival = accepted.get(node_id)
        if rival is not None:
            return rival.version
        slot = self._slots.get(node_id)
        return None if slot is None else int(self.columns.version[slot])

    def _place(self, record: NodeRecord) -> None:
        """See that the node has a slot in a block of its model."""
        model = self.models.code(record.gpu_model)
        slot = self._slots.get(record.id)
        seen = 0
        if slot is not None:
            if self.block_model[slot // BLOCK] == model:
                return
            seen = int(self.columns.seen[slot])
            self.vacate(slot)
        slot = self._slots[record.id] = self.take_slot(record.id, model, record.price)
        self.columns.tie[slot] = hash_node(record.id)
        self.columns.seen[slot] = seen

    def _write(self, batch: NodeBatch) -> None:
        slots = np.fromiter((self._slots[node_id] for node_id in batch.ids), np.intp, len(batch))
        columns = self.columns
        columns.have[slots], columns.traits[slots] = self._packed(batch, columns.seen[slots])
        columns.price[slots] = batch.price
        columns.stake[slots] = batch.stake
        columns.completed[slots] = batch.jobs_completed
        columns.failed[slots] = batch.jobs_failed
        columns.response[slots] = batch.response_ms
        columns.version[slots] = (batch.version & (_VERSIONS - 1)).astype(np.uint32)
        self.refresh(slots)
        if self.disordered():
            self.rebuild()

    def _packed(self, batch: NodeBatch, seen: SmallWords) -> tuple[Words, Words]:
        regions = np.array([self.region_code(name) for name in batch.regions] or [0], np.int64)
        return pack(
            gpus=batch.gpus,
            vram_gb=batch.vram_gb,
            reputation=batch.reputation,
            state=batch.state,
            capacity=batch.capacity,
            active=batch.active_jobs,
            capabilities=batch.capabilities,
            region=regions[batch.region],
            penalty=batch.penalty,
            trial=batch.trial,
            live=self._live(batch.state, seen),
        )

    def _changed(self) -> None:
        self._version += 1
        # A row may have brought a node online whose last sign of life is older than that of all who were.
        self._next_silent = 0.0
        self.wrote()


def _newer(version: Any, held: SmallWords) -> Mask:
    """Which versions are newer than those held, counting modulo 2**32 (serial numbers, RFC 1982)."""
    step = (version.astype(np.int64) - held.astype(np.int64)) % _VERSIONS
    mask: Mask = (step > 0) & (step < _VERSIONS // 2)
    return mask
