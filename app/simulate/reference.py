"""What each kind of job could have had at best: the yardstick of prices and regret."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.core.requirements import Requirements
from app.matchmaker.batch import NodeBatch
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.policy import Weights, blend
from app.matchmaker.terms import SCALE, load_term, price_term, term_arrays
from app.matchmaker.types import Query, Verdict

MEASURE = "reputation_weighted"


class Reference:
    """Best total and cheapest price of each kind of job while the network is empty and online.

    Totals are those of the policy MEASURE, in 0..SCALE, whatever the policy under test: its score with the load as it
    is, and the price term against the cheapest node that suits the kind at all. The best total is therefore an upper
    bound, and regret (best minus got) is never below 0.
    """

    def __init__(self, matchmaker: Matchmaker, network: NodeBatch, kinds: Sequence[Requirements]) -> None:
        self._weights = matchmaker.weights
        self._prices: list[int] = network.price.tolist()
        self._capacity: list[int] = network.capacity.tolist()
        self._unloaded = _unloaded_sums(network, matchmaker.weights)
        places = {node_id: at for at, node_id in enumerate(network.ids)}
        self.cheapest: list[int] = []
        self.best: list[int] = []
        self.never_fits: list[bool] = []
        for kind in kinds:
            cheap = matchmaker.match(Query("", kind, policy="cheapest"), top_n=1)
            best = matchmaker.match(Query("", kind, policy=MEASURE), top_n=1)
            self.never_fits.append(best.verdict is Verdict.NEVER_FITS)
            self.cheapest.append(cheap.candidates[0].price if cheap.candidates else 0)
            if best.candidates:
                node = places[best.candidates[0].node_id]
                self.best.append(self.total(node, self._capacity[node], self.cheapest[-1]))
            else:
                self.best.append(0)

    def total(self, node: int, free: int, cheapest: int) -> int:
        """The node's total with ``free`` slots, in 0..SCALE."""
        weights = self._weights
        load = load_term(free, self._capacity[node])
        score = (self._unloaded[node] + weights.load * load) // sum(weights.quality)
        return blend(score, price_term(self._prices[node], cheapest), weights.price)

    def regret(self, kind: int, node: int, free: int) -> int:
        """How much less a job of this kind got with the node than at best, in 0..SCALE."""
        return self.best[kind] - self.total(node, free, self.cheapest[kind])

    def overpaid(self, kind: int, node: int) -> int:
        """Price of the node over that of the cheapest, SCALE for equal, rounded down."""
        return self._prices[node] * SCALE // self.cheapest[kind]


def _unloaded_sums(network: NodeBatch, weights: Weights) -> list[int]:
    """Each node's weighted terms added up, all but the load."""
    total = np.zeros(len(network), np.int64)
    for weight, values in term_arrays(
        reputation=lambda: network.reputation.astype(np.int64),
        penalty=lambda: network.penalty.astype(np.int64),
        stake=lambda: network.stake.astype(np.int64),
        completed=lambda: network.jobs_completed.astype(np.int64),
        failed=lambda: network.jobs_failed.astype(np.int64),
        free=lambda: network.capacity.astype(np.int64),
        capacity=lambda: network.capacity.astype(np.int64),
        response_ms=lambda: network.response_ms.astype(np.int64),
        wanted=weights.quality._replace(load=0),
    ):
        total += weight * values
    sums: list[int] = total.tolist()
    return sums
