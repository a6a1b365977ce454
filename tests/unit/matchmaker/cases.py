"""Nodes, requirements and weights for the matchmaker's tests: a plain factory and hypothesis strategies."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from hypothesis import strategies as st

from app.core.money import MAX_AMOUNT, UNIT
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker.policy import POLICIES, Weights
from app.matchmaker.types import Query
from app.matchmaker.view import NodeView
from tests.support.oracle import Answer

MODELS = ("a100", "h100", "t4")
REGIONS = ("EU", "NA", "")
PLAIN = NodeRecord(
    id="node_a",
    gpu_model="a100",
    gpus=4,
    vram_gb=40,
    capabilities=0b111,
    region="EU",
    reputation=500,
    stake=1000 * UNIT,
    price=2 * UNIT,
    jobs_completed=10,
    jobs_failed=1,
    response_ms=80,
    state=NodeState.ONLINE,
    capacity=4,
    active_jobs=0,
    version=1,
)


def node(node_id: str = "node_a", **changes: Any) -> NodeRecord:
    """An online node that suits most jobs, with some fields changed."""
    return replace(PLAIN, id=node_id, **changes)


# Few distinct values per field, so that nodes tie and filters meet often; the extremes are among them.
PRICES = st.one_of(
    st.sampled_from([1, UNIT, UNIT + 1, 2 * UNIT, MAX_AMOUNT - 1, MAX_AMOUNT]), st.integers(1, MAX_AMOUNT)
)
STAKES = st.one_of(st.sampled_from([0, UNIT, 1000 * UNIT, MAX_AMOUNT]), st.integers(0, MAX_AMOUNT))
COUNTS = st.one_of(st.integers(0, 3), st.just(2**31 - 1))
STATES = st.one_of(st.just(NodeState.ONLINE), st.just(NodeState.ONLINE), st.sampled_from(NodeState))


@st.composite
def records(draw: st.DrawFn, node_id: str | None = None) -> NodeRecord:
    capacity = draw(st.integers(0, 4))
    return NodeRecord(
        id=f"node_{draw(st.integers(0, 40))}" if node_id is None else node_id,
        gpu_model=draw(st.sampled_from(MODELS)),
        gpus=draw(st.integers(0, 4)),
        vram_gb=draw(st.sampled_from([0, 16, 40])),
        capabilities=draw(st.integers(0, 7)),
        region=draw(st.sampled_from(REGIONS)),
        reputation=draw(st.sampled_from([0, 100, 999, 1000])),
        stake=draw(STAKES),
        price=draw(PRICES),
        jobs_completed=draw(COUNTS),
        jobs_failed=draw(COUNTS),
        response_ms=draw(COUNTS),
        state=draw(STATES),
        capacity=capacity,
        active_jobs=draw(st.integers(0, capacity)),
        version=draw(st.integers(1, 5)),
        penalty=draw(st.sampled_from([0, 0, 50, 1000])),
        trial=draw(st.sampled_from([0, 0, 0, 2])),
    )


def fleets(max_size: int = 25) -> st.SearchStrategy[list[NodeRecord]]:
    """Nodes with ids of their own, among them equal ones."""
    drawn = st.lists(records(), max_size=max_size, unique_by=lambda record: record.id)
    twins = st.builds(
        lambda model, count: [replace(model, id=f"node_{i}") for i in range(count)],
        records(),
        st.integers(0, max_size),
    )
    return drawn | twins


REQUIREMENTS = st.builds(
    Requirements,
    gpu_models=st.one_of(st.just(()), st.lists(st.sampled_from([*MODELS, "unheard of"]), max_size=3).map(tuple)),
    gpus=st.sampled_from([1, 1, 1, 2, 4, 64, 2**40]),
    min_vram_gb=st.sampled_from([0, 0, 16, 40, 2**40]),
    capabilities=st.sampled_from([0, 0, 1, 3, 7, 8, 2**40]),
    region=st.sampled_from(["", "", "EU", "AF"]),
    min_reputation=st.sampled_from([0, 0, 1, 100, 1000]),
    max_price=st.one_of(st.none(), PRICES, st.just(2**70)),
)
WEIGHTS = st.builds(
    lambda quality, price: replace(Weights(*quality), price=price),
    st.tuples(*[st.one_of(st.integers(0, 3), st.just(10**12))] * 5).filter(any),
    st.integers(0, 100),
)
FLOORS = st.sampled_from([0, 0, 100, 1000])
POLICY_NAMES = st.sampled_from(list(POLICIES))
EXCLUDED = st.frozensets(st.integers(0, 45).map(lambda i: f"node_{i}"), max_size=6)
JOB_IDS = st.text(max_size=8)


def assert_same(view: NodeView, query: Query, answer: Answer, top_n: int = 5) -> None:
    """The view says what the oracle says, figure by figure."""
    match, tally = view.match(query, top_n), view.tally(query)
    assert [candidate.told() for candidate in match.candidates] == [asdict(ranked) for ranked in answer.ranking[:top_n]]
    assert (match.verdict, tally.feasible, tally.rejects) == (answer.verdict, len(answer.ranking), answer.rejects)
    cheapest = min((ranked.price for ranked in answer.ranking), default=None)
    assert (match.cheapest.price if match.cheapest else None) == cheapest
