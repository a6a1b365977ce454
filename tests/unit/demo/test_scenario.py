from __future__ import annotations

from collections import Counter

import msgspec

from app.core.requirements import JobType
from app.demo.onchain import CLIENTS, WRONG, Pay, Way, chain_type, operator_wallet
from app.demo.scenario import SUBMIT_PER_S, DemoOptions, build, due_times
from app.demo.trace import violations
from tools.answers import requirements_of
from tools.schemas import SubmitJob


def test_the_same_seed_makes_the_same_scenario() -> None:
    options = DemoOptions(jobs=50, nodes=40, seed=7)
    assert build(options) == build(options)
    assert build(options) != build(DemoOptions(jobs=50, nodes=40, seed=8))


def test_every_node_is_in_one_fleet() -> None:
    scenario = build(DemoOptions(jobs=10))
    crew = [node.wallet for fleet in [*scenario.fleets, scenario.doomed] for node in fleet]
    assert sorted(crew) == sorted(scenario.nodes) and len(crew) == 1213
    assert all(wallet == operator_wallet(node.id) for wallet, node in scenario.nodes.items())
    assert scenario.doomed and all(scenario.fleets)


def test_a_part_of_the_cluster_gets_only_jobs_it_could_run() -> None:
    scenario = build(DemoOptions(jobs=200, nodes=30))
    nodes = scenario.nodes.values()
    assert len(scenario.submissions) == 200
    for one in scenario.submissions:
        assert any(not violations(one.job, node, node.reputation) for node in nodes)


def test_submissions_say_what_the_trace_says() -> None:
    for one in build(DemoOptions(jobs=7064)).submissions:
        if one.way is Way.DEFAULTS:
            continue
        asked = msgspec.convert(one.body, SubmitJob)
        wanted, job = requirements_of(asked, asked.type), one.job
        assert wanted.gpu_models == tuple(sorted(model.lower() for model in job.models))
        assert (wanted.gpus, wanted.min_vram_gb, wanted.region) == (job.gpus, job.vram_gb, job.region)
        assert (wanted.capabilities, wanted.min_reputation) == (job.capabilities, job.min_reputation)
        assert wanted.max_price == (None if job.max_price is None else int(job.max_price * 10**9))


def test_a_job_whose_spec_nobody_stores_asks_for_what_its_type_does() -> None:
    specless = [one for one in build(DemoOptions(jobs=2000)).submissions if one.way is Way.DEFAULTS]
    assert len(specless) == 10
    for one in specless:
        asked = SubmitJob(type=one.body["type"])
        wanted = requirements_of(asked, msgspec.convert(asked.type, JobType))
        assert (one.job.gpus, one.job.vram_gb, one.job.models, one.job.max_price) == (1, 0, (), None)
        assert one.job.capabilities == wanted.capabilities


def test_every_way_and_every_wrong_payment_occurs() -> None:
    submissions = build(DemoOptions(jobs=100, nodes=40)).submissions
    assert {one.way for one in submissions} == set(Way)
    assert Counter(one.pay for one in submissions) == {Pay.RIGHT: 96} | dict.fromkeys(WRONG, 1)
    assert {one.client for one in submissions} == set(range(CLIENTS))
    assert any(one.repeat for one in submissions)
    assert all(one.way in (Way.HASH, Way.ID) for one in submissions if one.repeat)
    assert all(one.price % 100 == 0 for one in submissions if one.processed)
    assert any(one.price % 100 for one in submissions)


def test_job_types_have_the_numbers_of_the_chain() -> None:
    assert [chain_type(kind) for kind in ("llm_inference", "rag_indexing", "generic_compute")] == [0, 2, 5]


def test_time_is_compressed_and_order_kept() -> None:
    due = due_times([0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 10_000_000.0])
    assert due == sorted(due) and due[0] == 0.0
    assert abs(due[-1] - 10 / SUBMIT_PER_S) < 1e-9
    assert due_times([]) == []
    assert due_times([5.0, 5.0]) == [0.0, 0.0]
