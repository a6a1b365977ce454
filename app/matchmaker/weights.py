"""The weights of the score, and the arithmetic of score and total."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, TypeVar

from app.core.errors import InvalidInput
from app.matchmaker.arrays import Ints
from app.matchmaker.terms import Terms

IntLike = TypeVar("IntLike", int, Ints)

MAX_WEIGHT: Final = 10**12
"""Five terms of at most SCALE, so weighted, add up within 64 bits."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Relative weights of the score's five terms, and the price's share of the total in percent.

    Raises InvalidInput, naming the field, for anything that is not a whole number in 0..MAX_WEIGHT, for a price above
    100 and when the five weights of the score are all zero.
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
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_WEIGHT:
                raise InvalidInput(f"weight {each.name} must be a whole number in 0..{MAX_WEIGHT}", field=each.name)
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
