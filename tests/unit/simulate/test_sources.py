"""Networks and jobs: out of the trace, made up, and out of recordings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.core.errors import InvalidInput
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.demo.trace import load_jobs, load_nodes
from app.services.recording import RecordedJob, Recording, lines, read
from app.simulate.play import thinned
from app.simulate.recorded import recorded_jobs, recorded_network, recorded_outcome
from app.simulate.synthetic import synthetic_jobs, synthetic_network
from app.simulate.traced import busiest_hours, requirements_of, traced_jobs, traced_network

HOUR_MS = 3_600_000


def test_the_whole_trace_is_taken_as_it_is() -> None:
    rows, network = load_nodes(), traced_network(1213, 1)
    network.check()
    assert [network.models[at] for at in network.gpu_model.tolist()] == [row.gpu_model.lower() for row in rows]
    assert network.reputation.tolist() == [row.reputation for row in rows]
    assert network.price.tolist() == [int(row.price * 10**9) for row in rows]
    jobs = traced_jobs(7064, 24, 1)
    assert [jobs.kinds[at] for at in jobs.kind.tolist()] == [requirements_of(row) for row in load_jobs()]
    assert 0 == jobs.submit_ms[0] <= jobs.submit_ms[-1] < 24 * HOUR_MS
    assert (np.diff(jobs.submit_ms) >= 0).all()


def test_larger_networks_are_drawn_again_and_differ_a_little() -> None:
    network = traced_network(5000, 1)
    network.check()
    assert len(set(network.ids)) == 5000
    assert len(set(zip(network.price.tolist(), network.reputation.tolist(), strict=True))) > 4500
    jobs = traced_jobs(20_000, 2, 1)
    assert len(jobs) == 20_000
    assert (np.diff(jobs.submit_ms) >= 0).all()
    assert jobs.submit_ms[0] >= 0
    assert 1.98 * HOUR_MS < jobs.submit_ms[-1] < 2 * HOUR_MS


def test_other_seeds_give_other_networks() -> None:
    assert traced_network(100, 1).price.tolist() != traced_network(100, 2).price.tolist()
    assert synthetic_network(100, 1).price.tolist() == synthetic_network(100, 1).price.tolist()
    assert synthetic_network(100, 1).price.tolist() != synthetic_network(100, 2).price.tolist()


def test_synthetic_networks_fit_the_index_and_their_jobs() -> None:
    network, jobs = synthetic_network(20_000, 1), synthetic_jobs(20_000, 24, 1)
    network.check()
    shares = np.bincount(network.gpu_model) / len(network)
    assert shares[1] == pytest.approx(0.22, abs=0.02), "22 in 100 are RTX 4090"
    assert 0 < jobs.submit_ms[0] <= jobs.submit_ms[-1] < 24 * HOUR_MS
    assert jobs.duration_ms.min() >= 10_000
    assert jobs.kind.max() < len(jobs.kinds)


def test_the_busiest_hour_has_most_submissions_and_the_jobs_that_ran_then() -> None:
    rows = load_jobs()
    submits = np.array([row.submit_s for row in rows])
    most = max(int(((submits >= at) & (submits < at + 3600)).sum()) for at in submits.tolist())
    workload = busiest_hours(1, 1)
    assert len(workload) - workload.warm == most
    assert workload.warm > 0
    assert workload.submit_ms[: workload.warm].max() == 0
    assert workload.submit_ms.max() < HOUR_MS
    with pytest.raises(InvalidInput, match="the trace has 3583 hours"):
        busiest_hours(4000, 1)


def test_fewer_nodes_are_a_part_of_the_network() -> None:
    network = traced_network(100, 1)
    fewer = thinned(network, 10, 1)
    fewer.check()
    assert len(set(fewer.ids)) == 10
    assert set(fewer.ids) < set(network.ids)
    for at, node_id in enumerate(fewer.ids):
        assert fewer.price[at] == network.price[network.ids.index(node_id)]
    assert thinned(network, 100, 1) is network


NODE = NodeRecord(
    id="node_a", gpu_model="a100", gpus=8, vram_gb=40, capabilities=255, region="EU", reputation=700, stake=5, price=9,
    jobs_completed=3, jobs_failed=1, response_ms=80, state=NodeState.ONLINE, capacity=8, active_jobs=3, version=12,
)  # fmt: skip
JOB = RecordedJob(
    key="k1",
    requirements=Requirements(gpu_models=("a100",)),
    priority=1,
    state="completed",
    submit_ms=1000,
    waited_ms=500,
    ran_ms=60_000,
    left_ms=None,
)


def recording() -> Recording:
    away = replace(NODE, id="node_b", state=NodeState.OFFLINE, active_jobs=0)
    return Recording(
        2,
        [NODE, away],
        [
            RecordedJob(
                key="k2",
                requirements=Requirements(),
                priority=0,
                state="running",
                submit_ms=-50_000,
                waited_ms=100,
                ran_ms=90_000,
                left_ms=20_000,
            ),
            JOB,
            RecordedJob(
                key="k2",
                requirements=Requirements(gpus=4),
                priority=0,
                state="expired",
                submit_ms=2000,
                waited_ms=None,
                ran_ms=None,
                left_ms=None,
            ),
        ],
    )


def test_a_recording_comes_back_as_it_was_written() -> None:
    assert read(lines(recording())) == recording()


def test_a_recording_becomes_a_network_and_jobs() -> None:
    network = recorded_network(recording())
    assert network.ids == ["node_a"]
    assert network.active_jobs.tolist() == [0]
    jobs = recorded_jobs(recording(), 2)
    # The busiest time begins with its first job, at 1,000 ms; what then ran on has 19 s left.
    assert jobs.warm == 1
    assert jobs.submit_ms.tolist() == [0, 0, 1000]
    assert jobs.duration_ms.tolist() == [19_000, 60_000, 90_000], "a run that is not known takes the median"
    assert [jobs.kinds[at].gpus for at in jobs.kind.tolist()] == [1, 1, 4]
    assert jobs.key.tolist() == [0, 1, 0]
    assert recorded_outcome(recording()) == {"placed_pct": 50.0, "wait_s_p50": 0.5, "wait_s_p99": 0.5}


def test_more_than_was_recorded_cannot_be_replayed() -> None:
    with pytest.raises(InvalidInput, match="only 2 hours"):
        recorded_jobs(recording(), 3)
    with pytest.raises(InvalidInput, match="no node was online"):
        recorded_network(Recording(1, [], []))
    with pytest.raises(InvalidInput, match="no job was submitted"):
        recorded_jobs(Recording(1, [NODE], []), 1)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda whole: whole[:-1], "not whole"),
        (lambda whole: [], "not whole"),
        (lambda whole: [b"{}\n", *whole[1:]], "line 1: no part of a recording"),
        (lambda whole: [whole[0].replace(b'"version":1', b'"version":2'), *whole[1:]], "line 1: this version reads"),
        (lambda whole: [whole[0], b"\xff\xfe\n", *whole[2:]], "line 2: no part of a recording"),
        (lambda whole: [whole[0], b"{}\n", *whole[2:]], "line 2: neither a node nor a job"),
        (lambda whole: [whole[0], whole[1].replace(b'"gpus":8', b'"gpus":"8"'), *whole[2:]], "line 2: no part"),
        (lambda whole: [*whole[:3], whole[3].replace(b'"gpus":1', b'"gpus":0'), *whole[4:]], "line 4: gpus is 0, not"),
    ],
)
def test_broken_recordings_are_refused(damage: object, told: str) -> None:
    assert callable(damage)
    with pytest.raises(InvalidInput, match=told):
        read(damage(list(lines(recording()))))
