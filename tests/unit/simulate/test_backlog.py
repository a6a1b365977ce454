"""Who is next when slots become free: the same as the engine's order of right says."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.requirements import Requirements
from app.matchmaker.fairness import Line, Share, Waiter
from app.simulate.backlog import Backlog, Wishes
from app.simulate.synthetic import synthetic_jobs, synthetic_network
from app.simulate.workload import Scene
from tests.unit.simulate.referee import suits

CLASS_MS = 1_000
NETWORK = synthetic_network(40, 1)
ONE, TWO = Requirements(), Requirements(gpus=2)
BIG = NETWORK.gpus.tolist().index(8)

waiters = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(-3_000, 3_000)), max_size=12)


def backlog(jobs: list[tuple[int, int, int]], held: list[int]) -> Backlog:
    waiting = Backlog(Wishes([ONE, TWO], NETWORK, 0), held, CLASS_MS)
    for job, (kind, key, rank) in enumerate(jobs):
        waiting.add(job, rank, kind, key, alone=False)
    return waiting


@settings(max_examples=60)
@given(waiters, st.lists(st.integers(0, 5), min_size=3, max_size=3), st.integers(0, 8))
def test_the_next_are_those_that_a_line_lets_through(
    jobs: list[tuple[int, int, int]], held: list[int], free: int
) -> None:
    line = Line(
        [Waiter(f"{job:03}", str(key), (1, 2)[kind], rank) for job, (kind, key, rank) in enumerate(jobs)],
        {str(key): Share(held=slots) for key, slots in enumerate(held)},
        CLASS_MS,
    )
    expected, left, full = [], free, set()
    for waiter in line:
        # Whoever is too large for what is left is passed over, and so are those behind it in its queue.
        if waiter.slots <= left and (waiter.slots, waiter.key_id) not in full:
            line.grant(waiter)
            left -= waiter.slots
            expected.append(int(waiter.job_id))
        else:
            full.add((waiter.slots, waiter.key_id))
    assert backlog(jobs, held).next_for(BIG, free, set(), 256) == expected


def test_queues_that_failed_are_passed_over_and_jobs_with_nodes_ruled_out_stand_alone() -> None:
    waiting = Backlog(Wishes([ONE, TWO], NETWORK, 0), [0], CLASS_MS)
    shared = waiting.add(0, 0, 0, 0, alone=False)
    assert waiting.add(1, 1, 0, 0, alone=False) == shared
    own = waiting.add(2, 2, 0, 0, alone=True)
    assert own != shared
    assert waiting.next_for(BIG, 8, {shared}, 256) == [2]
    assert waiting.add(3, 3, 1, 0, alone=True) == own, "an empty queue of its own is used again"
    assert waiting.next_for(BIG, 8, {own}, 1) == [0]
    assert len(waiting) == 2


def test_who_left_is_not_next() -> None:
    waiting = backlog([(0, 0, 0), (0, 0, 1), (0, 1, 5)], [0, 0])
    assert waiting.leave(0)
    assert not waiting.leave(0)
    assert 0 not in waiting
    assert waiting.next_for(BIG, 8, set(), 256) == [1, 2]
    assert len(waiting) == 0
    waiting.add(0, 0, 0, 0, alone=False)
    waiting.add(0, 0, 0, 0, alone=False)
    assert waiting.next_for(BIG, 8, set(), 256) == [0]


def test_wishes_are_met_by_the_nodes_that_suit_them() -> None:
    workload = synthetic_jobs(400, 1, 3)
    scene = Scene(NETWORK, workload, 3)
    wishes = Wishes(workload.kinds, NETWORK, 0)
    for node in range(len(NETWORK)):
        met = wishes.met_by(node, int(NETWORK.capacity[node]))
        expected = [suits(scene, job, node) for job in range(len(workload))]
        assert np.array_equal(met[workload.kind], expected)
    assert any(wishes.met_by(node, 8).any() for node in range(len(NETWORK)))
