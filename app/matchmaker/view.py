"""The matchmaker's picture of the nodes, scanned in full at every match."""

from __future__ import annotations

import numpy as np

from app.core.errors import InvalidInput
from app.core.requirements import MAX_REPUTATION, Requirements
from app.matchmaker.columns import DEREGISTERED, VACANT, Mask, Positions
from app.matchmaker.filters import Sieve, requirement_steps
from app.matchmaker.policy import DEFAULT_WEIGHTS, Policy, Weights, get_policy
from app.matchmaker.rank import hash_id, shortlist, tie_hashes
from app.matchmaker.table import NodeTable
from app.matchmaker.terms import Terms, price_term
from app.matchmaker.types import BUSY, EXCLUDED, OFFLINE, Availability, Candidate, Match, Query, Verdict

_FITS_KEPT = 64
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

    def match(self, query: Query, top_n: int = 5) -> Match:
        """The ``top_n`` best feasible nodes under the query's policy, best first.

        Raises InvalidInput for an unknown policy and for ``top_n`` below 1.
        """
        policy = get_policy(query.policy)
        if top_n < 1:
            raise InvalidInput("top_n must be at least 1", field="top_n")
        asked = query.requirements
        excluded = {self._slots[node_id] for node_id in query.excluded if node_id in self._slots}
        sieve = self._fitting(asked, excluded)
        fitting = sieve.mask
        if sieve.left:
            sieve.drop(BUSY, fitting & (self._rows.free >= asked.gpus))
        if not sieve.left:
            verdict = self._verdict(asked, excluded, fitting if BUSY in sieve.rejects else None)
            return Match([], 0, sieve.rejects, self._version, verdict)
        candidates = self._top(sieve.mask.nonzero()[0], policy, query.job_id, top_n)
        return Match(candidates, sieve.left, sieve.rejects, self._version)

    def availability(self, asked: Requirements) -> Availability:
        """What suits the requirements now; one scan."""
        rows = self._rows
        sieve = self._fitting(asked, set())
        slots = sieve.mask.nonzero()[0]
        free, prices = rows.free[slots], rows.price[slots]
        matching, now = len(slots), int(np.count_nonzero(free >= asked.gpus))
        if now < matching:
            sieve.rejects[BUSY] = matching - now
        middle = (matching - 1) // 2
        counts = np.bincount(rows.gpu_model[slots])
        most_first = sorted((-int(counts[code]), self._models.names[code]) for code in np.flatnonzero(counts))
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

    def _fitting(self, asked: Requirements, excluded: set[int]) -> Sieve:
        """The nodes that pass every filter but ``busy``. Kept for queries alike until a row is written."""
        if excluded:
            return self._sift(asked, excluded)
        if self._fits_at != self._writes or len(self._fits) >= _FITS_KEPT:
            self._fits.clear()
            self._fits_at = self._writes
        kept = self._fits.get(asked)
        if kept is None:
            kept = self._fits[asked] = self._sift(asked, excluded)
        return kept.copy()

    def _sift(self, asked: Requirements, excluded: set[int]) -> Sieve:
        rows = self._rows
        # Removed nodes are not online either: the difference is exactly the nodes that are known and away.
        sieve = Sieve(rows.online, len(self))
        sieve.drop(OFFLINE, rows.online)
        if excluded:
            mask = sieve.mask.copy()
            for slot in excluded:
                mask[slot] = False
            sieve.drop(EXCLUDED, mask)
        sieve.narrow(requirement_steps(rows, asked, self.min_reputation, self._models, self._regions))
        return sieve

    def _verdict(self, asked: Requirements, excluded: set[int], busy: Mask | None) -> Verdict:
        """Why nothing is feasible, by a second scan over all nodes. ``busy``: those that fell there."""
        rows = self._rows
        # A node with fewer slots than asked will never have enough of them free.
        has_slots = rows.capacity >= asked.gpus
        if busy is not None and np.any(busy & has_slots):
            return Verdict.BUSY
        known = has_slots & (rows.state != VACANT) & (rows.state != DEREGISTERED)
        sieve = Sieve(known, int(np.count_nonzero(known)))
        sieve.narrow(requirement_steps(rows, asked, self.min_reputation, self._models, self._regions))
        if not sieve.left:
            return Verdict.NEVER_FITS
        # Online and not excluded, it would have been `busy` above: whoever is not excluded here is away.
        if sum(bool(sieve.mask[slot]) for slot in excluded) < sieve.left:
            return Verdict.OFFLINE
        return Verdict.DECLINED

    def _top(self, slots: Positions, policy: Policy, job_id: str, n: int) -> list[Candidate]:
        rows = self._rows
        percent, job = self.weights.price, hash_id(job_id)
        prices = rows.price[slots]
        cheapest = int(prices.min())
        keys = policy.order(rows.score[slots], prices, cheapest, percent)
        picked = shortlist(keys, lambda at: tie_hashes(job, rows.tie[slots[at]]), n)
        chosen = slots[picked]
        order = list(zip(*(key[picked].tolist() for key in keys), strict=True))
        # Mostly the keys decide alone, and hashing would be a sixth of the time spent here.
        ties = tie_hashes(job, rows.tie[chosen]).tolist() if len(set(order)) < len(order) else [0] * len(order)
        ids = [self._ids[slot] for slot in chosen.tolist()]
        # Ids differ, so what follows them never takes part in the order.
        ranking = sorted(
            zip(
                order,
                ties,
                ids,
                rows.score[chosen].tolist(),
                prices[picked].tolist(),
                rows.terms[chosen].tolist(),
                strict=True,
            )
        )
        candidates = []
        for _, _, node_id, score, price, terms in ranking[:n]:
            of_price = price_term(price, cheapest)
            named = dict(zip(Terms._fields, terms, strict=True))
            named["price"] = of_price
            total = policy.total(score, of_price, percent)
            candidates.append(Candidate(node_id, total, score, price, named))
        return candidates
