"""The block index: bounds that cover, searches that pass over blocks and miss nothing, news in any order."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.core.money import MAX_AMOUNT
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker import packing, scores, search
from app.matchmaker.arrays import Positions
from app.matchmaker.batch import NodeDeltas, batch_of
from app.matchmaker.bounds import Bounds, known_rows, open_rows
from app.matchmaker.columns import BLOCK
from app.matchmaker.policy import FASTEST, POLICIES
from app.matchmaker.types import Query
from app.matchmaker.view import NodeView
from app.matchmaker.weights import DEFAULT_WEIGHTS
from tests.support.oracle import brute_force
from tests.unit.matchmaker import cases

WEIGHTS = asdict(DEFAULT_WEIGHTS)


def check_bounds(view: NodeView) -> None:
    """Every bound of every block covers every row that it speaks of. Those of all known rows leave load aside."""
    have = view.columns.have
    _covers(view, view.open, np.flatnonzero(open_rows(have)), packing.COMPARED)
    _covers(view, view.known, np.flatnonzero(known_rows(have)), packing.COMPARED[1:])
    slots = np.flatnonzero(open_rows(have))
    assert (view.columns.score[slots] <= view.open.score[slots // BLOCK]).all()
    fastest = FASTEST.weights_with(view.weights).quality
    assert (view.scores(slots, fastest) <= view.score_bound(fastest)[slots // BLOCK]).all()


def _covers(view: NodeView, bounds: Bounds, slots: Positions, fields: tuple[packing.Field, ...]) -> None:
    words, traits, blocks = view.columns.have[slots], view.columns.traits[slots], slots // BLOCK
    for field in fields:
        assert (scores.unpacked(words, field) <= scores.unpacked(bounds.have[blocks], field)).all()
    held = traits & np.uint64(packing.CAPABILITIES.mask)
    assert (held & bounds.capabilities[blocks] == held).all()
    region = scores.unpacked(traits, packing.REGION).astype(np.uint64) % np.uint64(64)
    assert (bounds.regions[blocks] >> region & np.uint64(1)).all()
    assert (bounds.price[blocks] <= view.columns.price[slots]).all()


def deltas_of(records: list[NodeRecord]) -> NodeDeltas:
    batch = batch_of(records)
    return NodeDeltas(
        batch.ids, batch.version, batch.state, batch.active_jobs, batch.reputation, batch.jobs_completed,
        batch.jobs_failed, batch.response_ms, batch.penalty, batch.trial,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def small_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are consulted even in small networks, and looked at anew early."""
    monkeypatch.setattr(search, "FEW", 0)
    monkeypatch.setattr(search, "AT_ONCE", 1)
    monkeypatch.setattr("app.matchmaker.blocks.STALE", 3)
    monkeypatch.setattr(scores, "STALE", 3)


class IndexMachine(RuleBasedStateMachine):
    """A view beside a plain dictionary of records that the oracle looks through."""

    ids = Bundle("ids")

    @initialize(fleet=cases.fleets())
    def begin(self, fleet: list[NodeRecord]) -> None:
        self.view = NodeView()
        self.view.offline_after_s = 100
        self.nodes: dict[str, NodeRecord] = {}
        self.seen: dict[str, int] = {}
        self.now = 1_000
        self.view.load(batch_of(fleet))
        self.nodes = {record.id: record for record in fleet}

    @rule(target=ids, record=cases.records())
    def upsert(self, record: NodeRecord) -> str:
        held = self.nodes.get(record.id)
        record = replace(record, version=held.version + 1 if held else 1)
        assert self.view.upsert([record]) == 1
        self.nodes[record.id] = record
        return record.id

    @rule(record=cases.records(), late=st.booleans())
    def news(self, record: NodeRecord, late: bool) -> None:
        held = self.nodes.get(record.id)
        if held is None:
            assert self.view.apply(deltas_of([record])) == 0
            return
        version = held.version - 1 if late else held.version + 1
        active = min(record.active_jobs, held.capacity)
        news = replace(record, version=max(0, version), capacity=held.capacity, active_jobs=active)
        taken = self.view.apply(deltas_of([news, news]))
        assert taken == (not late)
        assert self.view.apply(deltas_of([news])) == 0
        if taken:
            self.nodes[held.id] = replace(
                held, version=news.version, state=news.state, active_jobs=active, reputation=news.reputation,
                jobs_completed=news.jobs_completed, jobs_failed=news.jobs_failed, response_ms=news.response_ms,
                penalty=news.penalty, trial=news.trial,
            )  # fmt: skip

    @rule(node_id=ids, part=st.floats(0, 1))
    def adjust(self, node_id: str, part: float) -> None:
        held = self.nodes.get(node_id)
        if held is not None:
            target = round(part * held.capacity)
            self.view.adjust(node_id, target - held.active_jobs)
            self.nodes[node_id] = replace(held, active_jobs=target)

    @rule(node_id=ids)
    def remove(self, node_id: str) -> None:
        self.view.remove([node_id])
        self.nodes.pop(node_id, None)
        self.seen.pop(node_id, None)

    @rule(node_id=ids, ago=st.integers(0, 150))
    def hear(self, node_id: str, ago: int) -> None:
        self.view.hear([node_id, "node_unknown"], np.array([self.now - ago, self.now]))
        if node_id in self.nodes:
            self.seen[node_id] = max(self.seen.get(node_id, 0), self.now - ago)

    @rule(step=st.integers(0, 60))
    def time_passes(self, step: int) -> None:
        self.now += step
        self.view.expire(self.now)

    @precondition(lambda self: self.nodes)
    @rule()
    def rebuild(self) -> None:
        self.view.rebuild()

    def now_playing(self) -> list[NodeRecord]:
        """The nodes as they count: silent ones are offline."""
        silent = {node_id for node_id, at in self.seen.items() if at < self.now - 100}
        return [
            replace(node, state=NodeState.OFFLINE) if node.id in silent and node.state is NodeState.ONLINE else node
            for node in self.nodes.values()
        ]

    @rule(job_id=cases.JOB_IDS, asked=cases.REQUIREMENTS, excluded=cases.EXCLUDED, policy=cases.POLICY_NAMES)
    def match(self, job_id: str, asked: Requirements, excluded: frozenset[str], policy: str) -> None:
        self.view.expire(self.now)
        expected = brute_force(self.now_playing(), job_id, asked, excluded=excluded, policy=policy, weights=WEIGHTS)
        cases.assert_same(self.view, Query(job_id, asked, excluded, policy), expected)

    @invariant()
    def bounds_cover(self) -> None:
        if hasattr(self, "view"):
            assert len(self.view) == len(self.nodes)
            check_bounds(self.view)


IndexMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
TestIndex = IndexMachine.TestCase


def _network(count: int) -> list[NodeRecord]:
    rng = random.Random(5)
    return [
        cases.node(
            f"node_{number}",
            gpu_model=rng.choice(["a100", "h100", "t4", "l4"]),
            price=rng.randrange(1, 400) * 10**6,
            reputation=rng.randrange(1001),
            stake=rng.randrange(10**14),
            vram_gb=rng.choice([16, 40, 80]),
            capabilities=rng.choice([1, 3, 7]),
            region=rng.choice(["EU", "NA"]),
            response_ms=rng.randrange(500),
            active_jobs=rng.choice([0, 0, 1, 4]),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("policy", list(POLICIES))
def test_a_network_of_many_blocks_is_searched_exactly(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "AT_ONCE", 2)
    nodes = _network(4_000)
    view = NodeView()
    view.upsert(nodes)
    held = {node.id: node for node in nodes}
    rng = random.Random(policy)
    for number in range(12):
        asked = Requirements(
            gpu_models=rng.choice([(), ("a100",), ("t4", "l4")]),
            gpus=rng.choice([1, 4]),
            min_vram_gb=rng.choice([0, 40]),
            capabilities=rng.choice([0, 2]),
            region=rng.choice(["", "EU"]),
            max_price=rng.choice([None, 10**8]),
        )
        query = Query(f"job_{number}", asked, policy=policy)
        cases.assert_same(view, query, brute_force(held.values(), query.job_id, asked, policy=policy, weights=WEIGHTS))
        best = view.match(query).best
        if best is not None:
            view.adjust(best.node_id, asked.gpus)
            held[best.node_id] = replace(held[best.node_id], active_jobs=held[best.node_id].active_jobs + asked.gpus)


def test_most_blocks_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    view = NodeView()
    view.upsert(_network(20_000))
    scanned = []
    scan = search.scan

    def watched(table: Any, probe: Any, blocks: Any) -> Any:
        scanned.append(len(blocks))
        return scan(table, probe, blocks)

    monkeypatch.setattr(search, "scan", watched)
    assert view.match(Query("job_1", Requirements())).best is not None
    assert sum(scanned) < view.used // 4


def test_a_slot_takes_at_most_64_bytes() -> None:
    view = NodeView()
    view.upsert(_network(60 * BLOCK))
    view.match(Query("job_1", Requirements(), policy="fastest"))
    assert view.nbytes <= 64 * len(view)


def test_a_node_whose_model_changes_is_found_under_the_new_one() -> None:
    view = NodeView()
    view.upsert([cases.node()])
    view.upsert([cases.node(gpu_model="h100", version=2)])
    assert view.match(Query("job_1", Requirements(gpu_models=("a100",)))).best is None
    best = view.match(Query("job_1", Requirements(gpu_models=("h100",)))).best
    assert best is not None
    assert best.record == cases.node(gpu_model="h100", version=2)


def test_a_candidate_shows_the_node_as_it_stood_at_the_match() -> None:
    view = NodeView()
    view.upsert([cases.node()])
    best = view.match(Query("job_1", Requirements())).best
    view.adjust("node_a", 3)
    assert best is not None
    assert best.record == cases.node()
    assert best.terms["load"] == 1_000_000


@pytest.mark.parametrize("count", [1, 9])
def test_the_dearest_node_may_be_the_cheapest(count: int) -> None:
    nodes = [cases.node(f"node_{number}", price=MAX_AMOUNT) for number in range(count)]
    view = NodeView()
    view.upsert(nodes)
    match = view.match(Query("job_1", Requirements()))
    assert match.cheapest is not None
    assert match.cheapest.record in nodes
    assert all(candidate.record in nodes and candidate.terms["price"] == 1_000_000 for candidate in match.candidates)


def test_a_node_that_comes_online_with_an_old_sign_of_life_falls_silent_in_time() -> None:
    view = NodeView()
    view.offline_after_s = 100
    view.upsert([cases.node("node_a", state=NodeState.DRAINING), cases.node("node_b")])
    view.hear(["node_a", "node_b"], np.array([1_000, 1_090]))
    assert view.expire(1_095) == 0
    view.upsert([cases.node("node_a", version=2)])
    assert view.expire(1_101) == 1
    assert [one.node_id for one in view.match(Query("job_1", Requirements())).candidates] == ["node_b"]
