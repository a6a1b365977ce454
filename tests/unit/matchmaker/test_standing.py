"""What is kept of questions that are asked again and again answers them as a fresh view would."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import Conflict
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker.policy import POLICIES
from app.matchmaker.types import Query
from app.matchmaker.view import NodeView

MODELS = ("t4", "a100")

nodes = st.lists(
    st.builds(
        NodeRecord,
        id=st.just(""),
        gpu_model=st.sampled_from(MODELS),
        gpus=st.sampled_from([1, 4]),
        vram_gb=st.just(16),
        capabilities=st.just(1),
        region=st.just("EU"),
        reputation=st.sampled_from([0, 500, 1000]),
        stake=st.just(0),
        price=st.sampled_from([100, 100, 101, 2**63 - 1]),
        jobs_completed=st.just(0),
        jobs_failed=st.just(0),
        response_ms=st.just(0),
        state=st.sampled_from([NodeState.ONLINE, NodeState.ONLINE, NodeState.OFFLINE]),
        capacity=st.integers(1, 4),
        active_jobs=st.sampled_from([0, 0, 1]),
        version=st.just(1),
        penalty=st.sampled_from([0, 100]),
        trial=st.sampled_from([0, 0, 0, 2]),
    ),
    min_size=1,
    max_size=30,
)
questions = st.tuples(
    st.sampled_from([(), ("t4",), ("t4", "a100")]),
    st.sampled_from([1, 1, 2]),
    st.sampled_from([None, 100]),
    st.sampled_from(sorted(POLICIES)),
)
steps = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["take", "take", "take", "free", "look", "write"])), max_size=40
)


def fresh(view: NodeView) -> NodeView:
    """A view of the same nodes that was never asked anything."""
    other = NodeView(view.weights, view.min_reputation)
    other.upsert(record for node_id in sorted(view._slots) if (record := view.get(node_id)) is not None)
    return other


@settings(max_examples=150)
@given(nodes, st.lists(questions, min_size=3, max_size=3), steps, st.sampled_from([1, 3, 5]))
def test_it_answers_as_a_view_that_keeps_nothing(
    network: list[NodeRecord],
    asked: list[tuple[tuple[str, ...], int, int | None, str]],
    moves: list[tuple[int, str]],
    top_n: int,
) -> None:
    view = NodeView()
    for number, record in enumerate(network):
        record.id = f"node_{number}"
    view.upsert(network)
    for number, (which, move) in enumerate(moves):
        models, gpus, most, policy = asked[which]
        wants = Requirements(gpu_models=models, gpus=gpus, max_price=most)
        query = Query(f"job_{number}", wants, (), policy)
        found, told = view.match(query, top_n), view.tally(query)
        again = fresh(view)
        right = again.match(query, top_n)
        assert found == right
        assert (told.feasible, told.rejects) == (again.tally(query).feasible, again.tally(query).rejects)
        if found.best is None or right.best is None:
            continue
        assert found.cheapest is not None and right.cheapest is not None
        assert found.cheapest.price == right.cheapest.price
        assert found.best.record == view.get(found.best.node_id)
        if move == "take":
            view.adjust(found.best.node_id, gpus)
        elif move == "free":
            try:
                view.adjust(found.best.node_id, -1)
            except Conflict:
                continue
        elif move == "write":
            held = view.get(found.best.node_id)
            assert held is not None
            held.version += 1
            held.reputation = 700
            view.upsert([held])
