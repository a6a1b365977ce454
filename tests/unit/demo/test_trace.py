from __future__ import annotations

from decimal import Decimal

import pytest

from app.demo.trace import TraceJob, TraceNode, load_jobs, load_nodes, replayed_s, violations

NODE = TraceNode("n", "T4", 2, 16, 2, "EU", 500, Decimal(1), 1, 0, Decimal("0.2"), 0b11)
JOB = TraceJob("j", "Running", ("P100", "T4"), 2, 16, 0.0, 60.0, 0, 0b01, 500, "EU", Decimal("0.2"))


def changed(**fields: object) -> TraceJob:
    values = {name: getattr(JOB, name) for name in TraceJob.__dataclass_fields__}
    return TraceJob(**(values | fields))


def test_the_whole_trace_is_shipped() -> None:
    nodes, jobs = load_nodes(), load_jobs()
    assert (len(nodes), len(jobs)) == (1213, 7064)
    assert len({node.id for node in nodes}) == 1213 and len({job.id for job in jobs}) == 7064
    assert sum(node.capacity for node in nodes) == 6212
    assert [job.submit_s for job in jobs] == sorted(job.submit_s for job in jobs)


def test_a_node_that_just_fits_violates_nothing() -> None:
    assert violations(JOB, NODE, NODE.reputation) == []
    wishless = changed(models=(), gpus=1, vram_gb=0, capabilities=0, min_reputation=0, region="", max_price=None)
    assert violations(wishless, NODE, 0) == []


@pytest.mark.parametrize(
    ("fields", "broken"),
    [
        ({"models": ("P100",)}, "gpu_model"),
        ({"gpus": 3}, "gpus"),
        ({"vram_gb": 17}, "vram"),
        ({"capabilities": 0b101}, "capabilities"),
        ({"region": "NA"}, "region"),
        ({"min_reputation": 501}, "reputation"),
        ({"max_price": Decimal("0.1999")}, "price"),
    ],
)
def test_each_requirement_is_seen(fields: dict[str, object], broken: str) -> None:
    assert violations(changed(**fields), NODE, NODE.reputation) == [broken]


def test_replayed_runs_are_short_and_keep_their_order() -> None:
    durations = [replayed_s(job.duration_s) for job in load_jobs()]
    assert min(durations) >= 0.05 and max(durations) <= 3.0
    assert replayed_s(10) < replayed_s(600) < replayed_s(86_400)
