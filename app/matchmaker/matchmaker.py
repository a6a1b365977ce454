"""The front of the package: one view, one set of weights, one floor."""

from __future__ import annotations

from app.core.errors import InvalidInput
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.matchmaker.filters import first_failure
from app.matchmaker.policy import DEFAULT_WEIGHTS, Weights
from app.matchmaker.types import Availability, Match, Query, Tally
from app.matchmaker.view import NodeView


class Matchmaker:
    """Finds nodes for jobs in ``view``, which the caller keeps current.

    ``min_reputation``: the network's floor, 0..1000. ``top_n``: candidates a match returns at most. Raises
    InvalidInput when either is out of range.
    """

    def __init__(self, weights: Weights = DEFAULT_WEIGHTS, min_reputation: int = 0, top_n: int = 5) -> None:
        if top_n < 1:
            raise InvalidInput("top_n must be at least 1", field="top_n")
        self.view = NodeView(weights, min_reputation)
        self.top_n = top_n

    @property
    def weights(self) -> Weights:
        return self.view.weights

    @property
    def min_reputation(self) -> int:
        return self.view.min_reputation

    def match(self, query: Query, top_n: int | None = None) -> Match:
        """The best nodes for the query now, ``self.top_n`` at most unless said. Raises InvalidInput, as for an unknown
        policy."""
        return self.view.match(query, self.top_n if top_n is None else top_n)

    def tally(self, query: Query) -> Tally:
        """The counts behind a match: one scan over all nodes."""
        return self.view.tally(query)

    def availability(self, requirements: Requirements) -> Availability:
        """What the network holds for the requirements now."""
        return self.view.availability(requirements)

    def fits(self, requirements: Requirements, record: NodeRecord) -> bool:
        """Whether this node can take such a job now: the rules of ``match`` without the exclusions."""
        return self.first_failure(requirements, record) is None

    def first_failure(self, requirements: Requirements, record: NodeRecord) -> str | None:
        """The filter that keeps such a job off this node, one of types.FILTERS; None when it fits."""
        return first_failure(record, requirements, self.min_reputation)
