"""The rows behind the view: which node sits in which slot, kept current from the database's rows."""

from __future__ import annotations

from collections.abc import Iterable

from app.core.errors import Conflict, NotFound
from app.core.nodes import NodeRecord
from app.core.states import NodeState
from app.matchmaker.columns import STATE_CODES, STATES, VACANT, Codes, Columns, check_record
from app.matchmaker.policy import Weights, weighted_score
from app.matchmaker.rank import hash_id
from app.matchmaker.terms import Terms, load_term, terms_of

_FIRST_LENGTH = 64


class NodeTable:
    """All nodes, online or not, as columns with their score. Belongs to one thread.

    The arrays take 96 bytes a slot and grow by doubling; slots of removed nodes are used again. Scores are
    kept per node, so the weights are fixed for the table's life.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._quality = weights.quality
        self._columns = Columns(_FIRST_LENGTH)
        self._rows = self._columns.head(0)
        self._ids: list[str] = []
        self._slots: dict[str, int] = {}
        self._vacant: list[int] = []
        self._models = Codes()
        self._regions = Codes()
        self._version = 0
        self._writes = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._slots

    @property
    def version(self) -> int:
        """Rises with every call that changed something, ``adjust`` included."""
        return self._version

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, the reserve for growth included."""
        return self._columns.nbytes

    def upsert(self, records: Iterable[NodeRecord]) -> int:
        """Take over the records that are newer than what is held; returns the number of nodes that changed.

        Late, repeated and reordered records do no harm. Raises InvalidInput, with nothing changed, on a
        record whose fields are out of range. A removed node has no version any more: it comes back with any
        record.
        """
        return self._apply(records, ahead=1)

    def heal(self, records: Iterable[NodeRecord]) -> int:
        """As upsert, and takes records of the held version too: true rows that undo ``adjust``."""
        return self._apply(records, ahead=0)

    def remove(self, ids: Iterable[str]) -> int:
        """Forget these nodes; returns how many were there."""
        removed = 0
        for node_id in ids:
            slot = self._slots.pop(node_id, None)
            if slot is not None:
                self._rows.online[slot] = False
                self._rows.state[slot] = VACANT
                self._ids[slot] = ""
                self._vacant.append(slot)
                removed += 1
        self._version += removed > 0
        self._writes += removed > 0
        return removed

    def adjust(self, node_id: str, slots: int) -> None:
        """Assume ``slots`` more active jobs on a node (fewer, if negative) until its next row comes.

        The node's version stays. Raises NotFound for an unknown node, and Conflict, with nothing changed,
        where active_jobs would leave 0..capacity.
        """
        slot = self._slots.get(node_id)
        if slot is None:
            raise NotFound(f"the view holds no node {node_id}")
        rows = self._rows
        capacity = int(rows.capacity[slot])
        free = int(rows.free[slot]) - slots
        if not 0 <= free <= capacity:
            raise Conflict(f"node {node_id}: active_jobs would be {capacity - free}, not in 0..{capacity}")
        if slots:
            rows.free[slot] = free
            terms = self._terms(slot)._replace(load=load_term(free, capacity))
            rows.terms[slot] = terms
            rows.score[slot] = weighted_score(terms, self._quality)
            self._version += 1

    def get(self, node_id: str) -> NodeRecord | None:
        """A copy of the node as it is held, adjustments included; None for an unknown one."""
        slot = self._slots.get(node_id)
        if slot is None:
            return None
        rows = self._rows
        capacity = int(rows.capacity[slot])
        return NodeRecord(
            id=node_id,
            gpu_model=self._models.names[rows.gpu_model[slot]],
            gpus=int(rows.gpus[slot]),
            vram_gb=int(rows.vram_gb[slot]),
            capabilities=int(rows.capabilities[slot]),
            region=self._regions.names[rows.region[slot]],
            reputation=int(rows.reputation[slot]),
            stake=int(rows.stake[slot]),
            price=int(rows.price[slot]),
            jobs_completed=int(rows.jobs_completed[slot]),
            jobs_failed=int(rows.jobs_failed[slot]),
            response_ms=int(rows.response_ms[slot]),
            state=STATES[rows.state[slot]],
            capacity=capacity,
            active_jobs=capacity - int(rows.free[slot]),
            version=int(rows.version[slot]),
        )

    def _terms(self, slot: int) -> Terms:
        return Terms(*self._rows.terms[slot].tolist())

    def _apply(self, records: Iterable[NodeRecord], ahead: int) -> int:
        accepted: dict[str, NodeRecord] = {}
        for record in records:
            held = self._held_version(record.id, accepted)
            if held is None or record.version >= held + ahead:
                check_record(record)
                accepted[record.id] = record
        for record in accepted.values():
            self._write(record)
        if accepted:
            self._rows = self._columns.head(len(self._ids))
            self._version += 1
            self._writes += 1
        return len(accepted)

    def _held_version(self, node_id: str, accepted: dict[str, NodeRecord]) -> int | None:
        rival = accepted.get(node_id)
        if rival is not None:
            return rival.version
        slot = self._slots.get(node_id)
        return None if slot is None else int(self._columns.version[slot])

    def _write(self, record: NodeRecord) -> None:
        slot = self._slots.get(record.id)
        if slot is None:
            slot = self._slots[record.id] = self._new_slot(record.id)
        columns = self._columns
        columns.online[slot] = record.state is NodeState.ONLINE
        columns.state[slot] = STATE_CODES[record.state]
        columns.gpu_model[slot] = self._models.code(record.gpu_model)
        columns.region[slot] = self._regions.code(record.region)
        columns.gpus[slot] = record.gpus
        columns.vram_gb[slot] = record.vram_gb
        columns.capabilities[slot] = record.capabilities
        columns.reputation[slot] = record.reputation
        columns.capacity[slot] = record.capacity
        columns.free[slot] = record.free
        columns.price[slot] = record.price
        columns.stake[slot] = record.stake
        columns.jobs_completed[slot] = record.jobs_completed
        columns.jobs_failed[slot] = record.jobs_failed
        columns.response_ms[slot] = record.response_ms
        columns.version[slot] = record.version
        terms = terms_of(
            reputation=record.reputation,
            stake=record.stake,
            completed=record.jobs_completed,
            failed=record.jobs_failed,
            free=record.free,
            capacity=record.capacity,
            response_ms=record.response_ms,
        )
        columns.terms[slot] = terms
        columns.score[slot] = weighted_score(terms, self._quality)

    def _new_slot(self, node_id: str) -> int:
        if self._vacant:
            slot = self._vacant.pop()
            self._ids[slot] = node_id
        else:
            slot = len(self._ids)
            if slot == len(self._columns):
                self._columns = self._columns.grown(2 * slot)
            self._ids.append(node_id)
        self._columns.tie[slot] = hash_id(node_id)
        return slot
