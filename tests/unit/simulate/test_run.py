"""Runs of the simulator, held against the rules by a referee of its own."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

import pytest

from app.core.errors import InvalidInput
from app.simulate.play import Rules, play, prepare
from app.simulate.synthetic import synthetic_jobs, synthetic_network
from app.simulate.traced import busiest_hours, traced_jobs, traced_network
from app.simulate.trail import HoldEnd, JobEnd, Trail
from app.simulate.workload import Behaviour, Scene
from tests.unit.simulate.referee import faults, holds_of, left_waiting

RULES = Rules()
TROUBLE: dict[str, Any] = {"decline_ppm": 100_000, "outages_ppm": 6_000_000}


def scene(nodes: int, jobs: int, hours: int, seed: int = 1, *, trace: bool = True, **behaviour: Any) -> Scene:
    if trace:
        network, workload = traced_network(nodes, seed), traced_jobs(jobs, hours, seed)
    else:
        network, workload = synthetic_network(nodes, seed), synthetic_jobs(jobs, hours, seed)
    return Scene(network, workload, seed, Behaviour(**behaviour))


def never(now_ms: int, seen: int) -> bool:
    return False


def run(of: Scene, policy: str = "reputation_weighted") -> Trail:
    return prepare(of, policy, RULES).run(never)


def figures(of: Scene, policy: str = "reputation_weighted") -> dict[str, Any]:
    found = play(of, policy, RULES, never).figures
    del found["wall"]
    return found


SCENES: dict[str, dict[str, Any]] = {
    "ample": {"nodes": 300, "jobs": 600, "hours": 24},
    "scarce": {"nodes": 40, "jobs": 700, "hours": 2},
    "troubled": {"nodes": 60, "jobs": 600, "hours": 6, **TROUBLE},
    "gathered": {"nodes": 40, "jobs": 500, "hours": 1, "batch_ms": 5_000, **TROUBLE},
    "synthetic": {"nodes": 60, "jobs": 600, "hours": 1, "trace": False, **TROUBLE},
}


@pytest.mark.parametrize("name", SCENES)
def test_no_rule_is_broken(name: str) -> None:
    of = scene(**SCENES[name])
    trail = run(of)
    assert faults(of, trail) == []
    assert trail.complete
    assert JobEnd.UNSEEN not in trail.ends
    assert HoldEnd.COMPLETED in trail.hold_end


@pytest.mark.parametrize("policy", ["reputation_weighted", "cheapest", "fastest", "spread"])
def test_nobody_waits_while_a_node_could_take_the_job(policy: str) -> None:
    of = scene(40, 700, 2, **TROUBLE)
    trail = run(of, policy)
    assert len(trail.stay_from) > 100
    moments = range(0, trail.end_ms, trail.end_ms // 25)
    assert [stuck for at in moments for stuck in left_waiting(of, trail, at)] == []


def test_the_referee_sees_what_breaks_the_rules() -> None:
    of = scene(40, 300, 2)
    trail = run(of)
    trail.hold_node[:] = array("q", [0]) * len(trail.hold_node)
    found = faults(of, trail)
    assert any("does not suit" in fault for fault in found)
    assert any("node 0 holds" in fault for fault in found)


def test_every_kind_of_trouble_happens_and_is_got_over() -> None:
    trail = run(scene(60, 900, 6, **TROUBLE))
    happened = Counter(HoldEnd(end) for end in trail.hold_end)
    assert set(happened) == set(HoldEnd)
    ends = Counter(JobEnd(end) for end in trail.ends)
    assert ends[JobEnd.COMPLETED] > 600
    again = Counter(hold.job for hold in holds_of(trail))
    assert any(tries > 2 and trail.ends[job] == JobEnd.COMPLETED for job, tries in again.items())


def test_a_job_fails_when_its_retries_are_used_up() -> None:
    of = scene(60, 400, 6, max_retries=0)
    trail = run(of)
    failed = {job for job, end in enumerate(trail.ends) if end == JobEnd.FAILED}
    lost = {hold.job for hold in holds_of(trail) if hold.why is HoldEnd.FAILED}
    assert failed == lost != set()


def test_waiting_ends_with_the_queue_ttl() -> None:
    trail = run(scene(10, 400, 1, queue_ttl_ms=60_000))
    stays = [end - begin for begin, end in zip(trail.stay_from, trail.stay_to, strict=True) if end >= 0]
    assert max(stays) == 60_000
    assert trail.ends.count(JobEnd.EXPIRED) > 50


@pytest.mark.parametrize("trace", [True, False])
def test_the_same_seed_gives_the_same_figures(trace: bool) -> None:
    of: dict[str, Any] = {"nodes": 40, "jobs": 400, "hours": 2, "trace": trace, **TROUBLE}
    first, again, other = figures(scene(**of)), figures(scene(**of)), figures(scene(**of, seed=2))
    assert first == again
    assert first != other


def test_policies_do_what_they_are_for() -> None:
    of = scene(120, 900, 4)
    found = {name: figures(of, name) for name in ("reputation_weighted", "cheapest", "fastest", "spread")}
    default = found["reputation_weighted"]
    assert found["cheapest"]["price_ratio"] < default["price_ratio"]
    assert found["fastest"]["response_ms"] < default["response_ms"] / 2
    assert found["spread"]["load_gini"] < default["load_gini"]
    assert default["regret"] == min(each["regret"] for each in found.values())
    assert all(each["regret"] >= 0 and each["price_ratio"] >= 1 for each in found.values())


def test_urgency_counts_when_nodes_are_scarce() -> None:
    placed = []
    for age_ms in (1, 600_000):
        of = scene(20, 600, 1, trace=False, age_per_priority_ms=age_ms)
        trail = run(of)
        urgent = [job for job, priority in enumerate(of.workload.priority.tolist()) if priority]
        placed.append(sum(trail.waits[job] >= 0 for job in urgent))
    assert placed[1] > 1.2 * placed[0]


def test_jobs_under_way_take_slots_and_do_not_count() -> None:
    workload = busiest_hours(1, 1)
    of = Scene(traced_network(200, 1), workload, 1)
    found = play(of, "spread", RULES, never)
    assert workload.warm > 0
    assert found.figures["jobs"]["counted"] == len(workload) - workload.warm
    assert len(found.waits) <= found.figures["jobs"]["counted"]
    assert faults(of, run(of)) == []


def test_a_run_that_is_stopped_tells_the_part_that_is_done() -> None:
    of = scene(60, 1000, 24)
    run_ = prepare(of, "cheapest", RULES)
    trail = run_.run(lambda now_ms, seen: seen > 300)
    assert not trail.complete
    assert faults(of, trail) == []
    assert 300 < sum(end != JobEnd.UNSEEN for end in trail.ends) < 1000
    stopped = play(of, "cheapest", RULES, lambda now_ms, seen: seen > 300).figures
    assert stopped["complete"] is False
    assert stopped["jobs"]["counted"] == sum(end != JobEnd.UNSEEN for end in trail.ends)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(InvalidInput, match="unknown policy 'best'"):
        prepare(scene(5, 5, 1), "best", RULES)
