"""How feasible nodes are ordered: the weights of the score and the named policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final, TypeAlias, TypeVar

from app.core.errors import InvalidInput
from app.matchmaker.columns import Ints
from app.matchmaker.terms import Terms, price_terms

IntLike = TypeVar("IntLike", int, Ints)


@dataclass(frozen=True, slots=True)
class Weights:
    """Relative weights of the score's five terms, and the price's share of the total in percent.

    Raises InvalidInput, naming the field, for anything that is not a whole number >= 0, for a price above 100
    and when the five weights of the score are all zero.
    """

    reputation: int = 40
    stake: int = 10
    completion: int = 25
    load: int = 15
    response: int = 10
    price: int = 30

    def __post_init__(self) -> None:
        for each in fields(self):
            value: object = getattr(self, each.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise InvalidInput(f"weight {each.name} must be a whole number of at least 0", field=each.name)
        if self.price > 100:
            raise InvalidInput("weight price is a percentage, at most 100", field="price")
        if not any(self.quality):
            names = ", ".join(Terms._fields)
            raise InvalidInput(f"one of the weights {names} must be more than 0", field=Terms._fields[0])

    @property
    def quality(self) -> Terms:
        """The five weights of the score, in the order of the terms."""
        return Terms(self.reputation, self.stake, self.completion, self.load, self.response)


DEFAULT_WEIGHTS: Final = Weights()


def weighted_score(terms: Terms, quality: Terms) -> int:
    """Weighted mean of the terms, rounded down: in 0..SCALE."""
    return sum(weight * term for weight, term in zip(quality, terms, strict=True)) // sum(quality)


def blend(score: IntLike, price_term: IntLike, percent: int) -> IntLike:
    """Score and price term in one figure, ``percent`` of it the price; in 0..SCALE, rounded down."""
    return ((100 - percent) * score + percent * price_term) // 100


Order: TypeAlias = Callable[[Ints, Ints, int, int], tuple[Ints, ...]]
"""(scores, prices, cheapest, percent) → sort keys of each node, most significant first, less is better."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A named order of feasible nodes.

    ``order`` ranks; nodes equal in all its keys go by hash(job, node), then by id. ``total`` (score, price
    term, percent) is the figure in 0..SCALE shown for a node; it never rises down the ranking.
    """

    name: str
    summary: str
    order: Order
    total: Callable[[int, int, int], int]


def _by_total(scores: Ints, prices: Ints, cheapest: int, percent: int) -> tuple[Ints, ...]:
    return (-blend(scores, price_terms(prices, cheapest), percent),)


def _by_price(scores: Ints, prices: Ints, cheapest: int, percent: int) -> tuple[Ints, ...]:
    return prices, -scores


def _blended_total(score: int, price_term: int, percent: int) -> int:
    return blend(score, price_term, percent)


def _price_total(score: int, price_term: int, percent: int) -> int:
    return price_term


REPUTATION_WEIGHTED: Final = Policy(
    name="reputation_weighted",
    summary="Weighted score of the node, blended with its price against the cheapest feasible one",
    order=_by_total,
    total=_blended_total,
)
CHEAPEST: Final = Policy(
    name="cheapest",
    summary="Lowest price; the better score among equal prices",
    order=_by_price,
    total=_price_total,
)

POLICIES: Final[Mapping[str, Policy]] = MappingProxyType({p.name: p for p in (REPUTATION_WEIGHTED, CHEAPEST)})


def get_policy(name: str) -> Policy:
    """The policy of that name; raises InvalidInput, listing the known ones, if there is none."""
    policy = POLICIES.get(name)
    if policy is None:
        raise InvalidInput(f"unknown policy {name!r}; known are {', '.join(POLICIES)}", field="policy")
    return policy
