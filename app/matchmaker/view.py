"""The matchmaker's picture of the nodes and the answers it gives."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from app.core.errors import InvalidInput
from app.core.requirements import MAX_REPUTATION, Requirements
from app.matchmaker.filters import Sieve, requirement_steps
from app.matchmaker.packing import Probe, probe_for
from app.matchmaker.policy import Policy, get_policy
from app.matchmaker.rank import hash_job, tie_hashes
from app.matchmaker.search import Found, Search, exists
from app.matchmaker.standing import Standings
from app.matchmaker.still import StillRanking
from app.matchmaker.table import NodeTable
from app.matchmaker.types import BUSY, EXCLUDED, OFFLINE, Availability, Match, Query, Tally, Verdict
from app.matchmaker.weights import DEFAULT_WEIGHTS, Weights

_NO_SLOTS: Final[set[int]] = set()
_FITS_KEPT: Final = 64
"""Requirements whose fitting nodes are kept between writes: the jobs of a wave are often alike."""


class NodeView(NodeTable):
    """The table of nodes together with the answers it gives: exact, whatever the order in which nodes came.

    ``min_reputation``: the network's floor, 0..1000, on top of what each query asks.
    """

    def __init__(self, weights: Weights = DEFAULT_WEIGHTS, min_reputation: int = 0) -> None:
        if not 0 <= min_reputation <= MAX_REPUTATION:
            raise InvalidInput(f"min_reputation must be in 0..{MAX_REPUTATION}", field="min_reputation")
        super().__init__(weights)
        self.min_reputation = min_reputation
        self._fits: dict[Requirements, Sieve] = {}
        self._fits_at = 0
        self._standings = Standings()

    def match(self, query: Query, top_n: int = 5) -> Match:
        """The ``top_n`` best feasible nodes under the query's policy, best first.

        Raises InvalidInput for an unknown policy and for ``top_n`` below 1.
        """
        policy = get_policy(query.policy)
        if top_n < 1:
            raise InvalidInput("top_n must be at least 1", field="top_n")
        asked = query.requirements
        excluded = self._excluded(query)
        if not excluded:
            standing = self._standings.of(self, (asked, query.policy))
            if standing is not None and standing.left:
                return self._match(standing.best(query.job_id, top_n), policy, query.job_id, top_n)
        models = self._models_of(asked)
        probe = probe_for(asked, self.min_reputation, self.regions.find(asked.region))
        if probe is None or models == ():
            return Match(None, self._version, Verdict.NEVER_FITS)
        self.tighten()
        search = Search(self, probe, models, excluded, top_n)
        if not excluded:
            self._standings.note(self, (asked, query.policy), probe, search.blocks, policy)
        found = search.run(policy, query.job_id)
        if found is None:
            return Match(None, self._version, self._verdict(probe, models, excluded))
        return self._match(found, policy, query.job_id, top_n)

    def tally(self, query: Query) -> Tally:
        """How many nodes are feasible for the query, and at which filter each of the others falls; one scan."""
        excluded = self._excluded(query)
        sieve = self._fitting(query.requirements, excluded)
        standing = None if excluded else self._standings.of(self, (query.requirements, query.policy))
        if standing is not None:
            sieve.keep(BUSY, standing.left)
        elif sieve.left:
            sieve.drop(BUSY, sieve.mask & (self.rows.free >= query.requirements.gpus))
        return Tally(sieve.left, sieve.rejects, self._version)

    def availability(self, asked: Requirements) -> Availability:
        """What suits the requirements now; one scan."""
        rows = self.rows
        sieve = self._fitting(asked, set())
        slots = sieve.mask.nonzero()[0]
        free, prices = rows.free[slots], rows.price[slots]
        matching, now = len(slots), int(np.count_nonzero(free >= asked.gpus))
        if now < matching:
            sieve.rejects[BUSY] = matching - now
        middle = (matching - 1) // 2
        counts = np.bincount(rows.gpu_model[slots])
        most_first = sorted((-int(counts[code]), self.models.names[code]) for code in np.flatnonzero(counts))
        return Availability(
            total=len(self),
            online=int(np.count_nonzero(rows.online)),
            matching=matching,
            free_slots=int(free.sum(dtype=np.int64)),
            available_now=now,
            cheapest_price=int(prices.min()) if matching else None,
            median_price=int(np.partition(prices, middle)[middle]) if matching else None,
            by_gpu_model={name: -count for count, name in most_first},
            rejects=sieve.rejects,
        )

    def _excluded(self, query: Query) -> set[int]:
        """Slots of the nodes that the query excludes; most exclude none."""
        if not query.excluded:
            return _NO_SLOTS
        return {self._slots[node_id] for node_id in query.excluded if node_id in self._slots}

    def _models_of(self, asked: Requirements) -> tuple[int, ...] | None:
        """Codes of the asked models that some node ever had, None = any."""
        if not asked.gpu_models:
            return None
        return tuple(code for name in asked.gpu_models if (code := self.models.find(name)) is not None)

    def _fitting(self, asked: Requirements, excluded: set[int]) -> Sieve:
        """The nodes that pass every filter but ``busy``. Kept for queries alike until a row is written."""
        if excluded:
            return self._sift(asked, excluded)
        if self._fits_at != self.writes or len(self._fits) >= _FITS_KEPT:
            self._fits.clear()
            self._fits_at = self.writes
        kept = self._fits.get(asked)
        if kept is None:
            kept = self._fits[asked] = self._sift(asked, excluded)
        return kept.copy()

    def _sift(self, asked: Requirements, excluded: set[int]) -> Sieve:
        rows = self.rows
        # Removed nodes are not online either: the difference is exactly the nodes that are known and away.
        sieve = Sieve(rows.online, len(self))
        sieve.drop(OFFLINE, rows.online)
        if excluded:
            mask = sieve.mask.copy()
            for slot in excluded:
                mask[slot] = False
            sieve.drop(EXCLUDED, mask)
        sieve.narrow(requirement_steps(rows, asked, self.min_reputation, self.models, self.regions))
        return sieve

    def _verdict(self, probe: Probe, models: tuple[int, ...] | None, excluded: set[int]) -> Verdict:
        """Why nothing is feasible."""
        if exists(self, probe.live(), models, excluded):
            return Verdict.BUSY
        # Online and not excluded, it would have been `busy`: whoever fits and is not excluded is away.
        if exists(self, probe.ever(), models, excluded):
            return Verdict.OFFLINE
        if excluded and exists(self, probe.ever(), models, ()):
            return Verdict.DECLINED
        return Verdict.NEVER_FITS

    def _match(self, found: Found, policy: Policy, job_id: str, n: int) -> Match:
        keys = [key.tolist() for key in found.keys]
        order: list[Any] = keys[0] if len(keys) == 1 else list(zip(*keys, strict=True))
        # Mostly the keys decide alone.
        if len(set(order)) < len(order):
            ties = tie_hashes(hash_job(job_id), self.columns.tie[found.slots]).tolist()
        else:
            ties = [0] * len(order)
        slots = found.slots.tolist()
        ids = [self.ids[slot] for slot in slots]
        # Ids differ, so what follows them never takes part in the order.
        ranking = sorted(zip(order, ties, ids, found.scores.tolist(), found.prices.tolist(), slots, strict=True))[:n]
        percent = policy.weights_with(self.weights).price
        still = self.still([*(row[5] for row in ranking), found.cheapest_slot])
        figures = [(row[2], row[3], row[4]) for row in ranking]
        cheapest = (self.ids[found.cheapest_slot], found.cheapest_score, found.cheapest)
        return Match(StillRanking(figures, cheapest, still, policy, percent), self._version)
