"""What the chain's events do here: nodes, jobs and payments that follow from them, linked to the engine's own.

Nothing is applied event by event. What is known of an account on chain is folded anew, from all its events, whenever
one of them comes, becomes final or is taken back; what that changes is then done. So order, repetition, late arrival
and forks are no cases of their own.
"""

from app.services.chain.index import ChainIndex
from app.services.chain.rules import JobDefaults

__all__ = ["ChainIndex", "JobDefaults"]
