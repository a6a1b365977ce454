"""How feasible nodes are ordered: the policies by name, built in or from installed packages.

A package adds its own by an entry point of the group ``hae.match_policies`` that names a Policy (the class or an
instance).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import ClassVar, Final

import numpy as np

from app.core.errors import HaeError, InvalidInput
from app.matchmaker.arrays import Ints, Positions, Scores
from app.matchmaker.rank import nth_highest
from app.matchmaker.terms import SCALE, price_term, price_terms
from app.matchmaker.weights import DEFAULT_WEIGHTS, Weights, blend, weighted_score

__all__ = [
    "CHEAPEST",
    "DEFAULT_WEIGHTS",
    "FASTEST",
    "GROUP",
    "POLICIES",
    "REPUTATION_WEIGHTED",
    "SPREAD",
    "Policy",
    "Weights",
    "blend",
    "get_policy",
    "policies",
    "policy_problems",
    "weighted_score",
]

GROUP: Final = "hae.match_policies"
NAME_LIMIT: Final = 40
FEW_ROWS: Final = 12
"""Up to there Python's own arithmetic is faster than NumPy's calls."""


class Policy:
    """A named order of feasible nodes: pure, the same on every machine.

    Most policies only declare ``name``, ``summary`` and ``weights`` (None: the network's). One that overrides ``keys``
    must keep it monotone: a higher score or a lower price never makes any key worse, or the index, which passes over
    nodes that cannot win, would pass over the wrong ones. Loading checks that on samples.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    weights: ClassVar[Weights | None] = None

    def keys(self, scores: Scores, prices: Ints, cheapest: int, percent: int) -> tuple[Scores, ...]:
        """One or two sort keys of each node, most significant first, less is better.

        ``scores`` in 0..SCALE, 32 or 64 bits; ``prices`` in base units, none below ``cheapest``, the cheapest feasible;
        ``percent``: the price's weight. Nodes equal in all keys go by hash(job, node), then by id.
        """
        if len(scores) <= FEW_ROWS:
            rows = zip(scores.tolist(), prices.tolist(), strict=True)
            return (np.array([-blend(score, price_term(price, cheapest), percent) for score, price in rows], np.int64),)
        # blend(scores, price_terms(prices, cheapest), percent), turned round, with fewer arrays.
        totals = price_terms(prices, cheapest)
        totals *= percent
        totals += (100 - percent) * scores
        # Over 100, rounded down: exact below 2**32 (Granlund and Montgomery 1994), and faster than a division.
        totals *= 0x51EB851F
        totals >>= 37
        return (np.negative(totals, out=totals),)

    def contenders(self, scores: Scores, prices: Ints, cheapest: int, percent: int, n: int) -> Positions | None:
        """Positions that hold the ``n`` best rows and all that equal the n-th in their keys; None = look at all.

        Only saves work: the keys decide. More than ``n`` rows are given.
        """
        if type(self).keys is not Policy.keys:
            return None
        # In doubles and without rounding down, a row's figure is at most percent + 100 above 100 times its total; so no
        # row further below the n-th best figure than that has a total as good as the n-th best. 2 more for the doubles.
        figures = (percent * cheapest * SCALE) / prices
        figures += (100 - percent) * scores
        found: Positions = (figures >= nth_highest(figures, n) - (percent + 102)).nonzero()[0]
        return found

    def total(self, score: int, price_term: int, percent: int) -> int:
        """The figure in 0..SCALE shown for a node; it never rises down the ranking."""
        return blend(score, price_term, percent)

    def weights_with(self, network: Weights) -> Weights:
        """The weights that count, given the network's."""
        return network if self.weights is None else self.weights


class ReputationWeighted(Policy):
    name = "reputation_weighted"
    summary = "Weighted score of the node, blended with its price against the cheapest feasible one"


class Cheapest(Policy):
    name = "cheapest"
    summary = "Lowest price; the better score among equal prices"

    def keys(self, scores: Scores, prices: Ints, cheapest: int, percent: int) -> tuple[Scores, ...]:
        return prices, -scores

    def total(self, score: int, price_term: int, percent: int) -> int:
        return price_term


class Fastest(Policy):
    name = "fastest"
    summary = "Nodes that answer offers fast and have slots to spare, whatever they cost"
    weights = Weights(reputation=10, stake=0, completion=10, load=20, response=60, price=0)


class Spread(Policy):
    name = "spread"
    summary = "The least loaded node, so that work is spread evenly"
    weights = Weights(reputation=0, stake=0, completion=0, load=100, response=0, price=0)


REPUTATION_WEIGHTED: Final = ReputationWeighted()
CHEAPEST: Final = Cheapest()
FASTEST: Final = Fastest()
SPREAD: Final = Spread()
POLICIES: Final[Mapping[str, Policy]] = MappingProxyType(
    {policy.name: policy for policy in (REPUTATION_WEIGHTED, CHEAPEST, FASTEST, SPREAD)}
)
"""The policies that come with the engine."""


def get_policy(name: str) -> Policy:
    """The policy of that name; raises InvalidInput, listing the known ones, if there is none."""
    policy = POLICIES.get(name) or policies().get(name)
    if policy is None:
        raise InvalidInput(f"unknown policy {name[:80]!r}; known are {', '.join(policies())}", field="policy")
    return policy


def policies() -> Mapping[str, Policy]:
    """All policies by name, those of installed packages after the engine's own."""
    return _load()[0]


def policy_problems() -> tuple[str, ...]:
    """What is wrong with installed policies that are left out, a line each."""
    return _load()[1]


@cache
def _load() -> tuple[Mapping[str, Policy], tuple[str, ...]]:
    known, problems = dict(POLICIES), []
    for entry in sorted(entry_points(group=GROUP), key=lambda one: (one.name, one.value)):
        try:
            policy = _from(entry)
            if policy.name in known:
                raise InvalidInput(f"there is a policy {policy.name!r} already")
            known[policy.name] = policy
        except Exception as error:  # another's code: whatever it raises must not stop the engine
            told = error.detail if isinstance(error, HaeError) else f"{type(error).__name__}: {error}"
            problems.append(f"policy {entry.name!r} ({entry.value}) is left out: {told}")
    return MappingProxyType(known), tuple(problems)


def _from(entry: EntryPoint) -> Policy:
    loaded = entry.load()
    policy = loaded() if isinstance(loaded, type) else loaded
    if not isinstance(policy, Policy):
        raise InvalidInput("it is no Policy (app.matchmaker.policy)")
    check_policy(policy)
    return policy


def check_policy(policy: Policy) -> None:
    """Raise InvalidInput, saying what is wrong, unless the policy can be used."""
    name = getattr(policy, "name", None)
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_LIMIT or not name.replace("_", "").isalnum():
        raise InvalidInput(f"its name must be 1 to {NAME_LIMIT} letters, digits and underscores")
    if not isinstance(getattr(policy, "summary", None), str):
        raise InvalidInput("it has no summary")
    if policy.weights is not None and not isinstance(policy.weights, Weights):
        raise InvalidInput("its weights are no Weights")
    steps = np.arange(0, SCALE + 1, SCALE // 8, dtype=np.int64)
    scores, prices = (grid.ravel() for grid in np.meshgrid(steps, 1 + steps))
    keys = policy.keys(scores, prices, 1, 30)
    if not 1 <= len(keys) <= 2:
        raise InvalidInput("keys() must give one or two keys")
    for key in keys:
        if key.shape != scores.shape or not np.issubdtype(key.dtype, np.integer):
            raise InvalidInput("keys() must give an integer for each node")
        # Rows of the grid: dearer downwards; columns: better rightwards.
        grid = key.reshape(len(steps), len(steps))
        if (np.diff(grid, axis=1) > 0).any() or (np.diff(grid, axis=0) < 0).any():
            raise InvalidInput("keys() is not monotone: a better score or a lower price makes a node worse")
