"""The matchmaker by brute force: node after node, in Python integers, written from the rules alone.

Shares nothing with app.matchmaker but the meaning of its words, so that a mistake there is not repeated here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from math import floor

from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState

OWN_WEIGHTS = {
    "fastest": {"reputation": 10, "stake": 0, "completion": 10, "load": 20, "response": 60, "price": 0},
    "spread": {"reputation": 0, "stake": 0, "completion": 0, "load": 100, "response": 0, "price": 0},
}
"""Of the policies that do not go by the network's."""
MILLION = 1_000_000
HYPER = 1_000_000_000


@dataclass(frozen=True)
class Ranked:
    """One feasible node with its figures."""

    node_id: str
    total: int
    score: int
    price: int
    terms: dict[str, int]


@dataclass(frozen=True)
class Answer:
    """All feasible nodes in order, and what the others failed at."""

    ranking: list[Ranked]
    rejects: dict[str, int]
    verdict: str | None


def stake_share(stake: int) -> int:
    """20 doublings of (1 + HYPER) make 1.0; straight lines between the doublings."""
    level = Fraction(1) + Fraction(stake, HYPER)
    if level >= 2**20:
        return MILLION
    doublings = 0
    while level >= 2:
        level /= 2
        doublings += 1
    # The share within the doubling is rounded down to a millionth before the division by 20.
    return (doublings * MILLION + floor((level - 1) * MILLION)) // 20


def free_slots(node: NodeRecord) -> int:
    """A node on trial takes one job at a time."""
    return 0 if node.trial > 0 and node.active_jobs > 0 else node.capacity - node.active_jobs


def node_terms(node: NodeRecord) -> dict[str, int]:
    slots_free = free_slots(node)
    answered = Fraction(1, 2) if node.response_ms == 0 else Fraction(100, 100 + node.response_ms)
    return {
        "reputation": floor(Fraction(max(0, node.reputation - node.penalty), 1000) * MILLION),
        "stake": stake_share(node.stake),
        "completion": floor(Fraction(node.jobs_completed + 1, node.jobs_completed + node.jobs_failed + 2) * MILLION),
        "load": floor(Fraction(slots_free, node.capacity) * MILLION) if node.capacity > 0 else 0,
        "response": floor(answered * MILLION),
    }


def crc32(text: str) -> int:
    """CRC-32 as in IEEE 802.3, bit by bit."""
    register = 0xFFFFFFFF
    for byte in text.encode("utf-8"):
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def tie_break(job_id: str, node_id: str) -> int:
    z = int.from_bytes(blake2b(job_id.encode("utf-8"), digest_size=8).digest(), "little") ^ crc32(node_id)
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def suits(node: NodeRecord, asked: Requirements, floor_reputation: int) -> str | None:
    """The first of the filters gpu_model..price that the node fails."""
    if asked.gpu_models and node.gpu_model not in asked.gpu_models:
        return "gpu_model"
    if node.gpus < asked.gpus:
        return "gpu_count"
    if node.vram_gb < asked.min_vram_gb:
        return "vram"
    if asked.capabilities & ~node.capabilities:
        return "capabilities"
    if asked.region != "" and node.region != asked.region:
        return "region"
    if node.reputation < asked.min_reputation or node.reputation < floor_reputation:
        return "reputation"
    if asked.max_price is not None and node.price > asked.max_price:
        return "price"
    return None


def first_reject(node: NodeRecord, asked: Requirements, excluded: Collection[str], floor_reputation: int) -> str | None:
    if node.state != NodeState.ONLINE:
        return "offline"
    if node.id in excluded:
        return "excluded"
    failed = suits(node, asked, floor_reputation)
    if failed is None and free_slots(node) < asked.gpus:
        return "busy"
    return failed


def verdict_on(
    nodes: Iterable[NodeRecord], asked: Requirements, excluded: Collection[str], floor_reputation: int
) -> str:
    """Why none of the nodes can have the job, given that none can."""
    suitable = [node for node in nodes if suits(node, asked, floor_reputation) is None and node.capacity >= asked.gpus]
    if any(node.state == NodeState.ONLINE and node.id not in excluded for node in suitable):
        return "busy"
    known = [node for node in suitable if node.state != NodeState.DEREGISTERED]
    if any(node.id not in excluded for node in known):
        return "offline"
    return "declined" if known else "never_fits"


def brute_force(
    nodes: Collection[NodeRecord],
    job_id: str,
    asked: Requirements,
    *,
    excluded: Collection[str] = (),
    policy: str = "reputation_weighted",
    weights: dict[str, int],
    floor_reputation: int = 0,
) -> Answer:
    """Every feasible node in order. ``weights``: the network's, the five terms and ``price`` in percent."""
    weights = OWN_WEIGHTS.get(policy, weights)
    rejects: Counter[str] = Counter()
    feasible = []
    for node in nodes:
        failed = first_reject(node, asked, excluded, floor_reputation)
        if failed is None:
            feasible.append(node)
        else:
            rejects[failed] += 1
    if not feasible:
        return Answer([], dict(rejects), verdict_on(nodes, asked, excluded, floor_reputation))
    cheapest = min(node.price for node in feasible)
    ranking = sorted(
        (_ranked(node, cheapest, weights, policy) for node in feasible),
        key=lambda ranked: _order(ranked, job_id, policy),
    )
    return Answer(ranking, dict(rejects), None)


def _ranked(node: NodeRecord, cheapest: int, weights: dict[str, int], policy: str) -> Ranked:
    terms = node_terms(node)
    weight_sum = sum(weights[name] for name in terms)
    score = sum(weights[name] * value for name, value in terms.items()) // weight_sum
    price = floor(Fraction(cheapest, node.price) * MILLION)
    share = weights["price"]
    total = price if policy == "cheapest" else ((100 - share) * score + share * price) // 100
    return Ranked(node.id, total, score, node.price, {**terms, "price": price})


def _order(ranked: Ranked, job_id: str, policy: str) -> tuple[int | str, ...]:
    tie = tie_break(job_id, ranked.node_id)
    if policy == "cheapest":
        return (ranked.price, -ranked.score, tie, ranked.node_id)
    return (-ranked.total, tie, ranked.node_id)
