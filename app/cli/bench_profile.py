"""Profiles of measured processes, for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.bench.areas import Breakdown


def as_dict(jobs: int, seconds: float, cores: Mapping[str, float], found: Breakdown) -> dict[str, Any]:
    """The profile of ``jobs`` jobs that took ``seconds``."""
    return {
        "jobs": jobs,
        "seconds": round(seconds, 3),
        "cores": dict(cores),
        "areas_us_per_job": {area: round(each * 1e6 / jobs, 1) for area, each in found.areas.items()},
        "functions": [
            {"function": name, "us_per_job": round(each * 1e6 / jobs, 1), "calls": calls}
            for name, each, calls in found.functions
        ],
    }


def show(jobs: int, seconds: float, cores: Mapping[str, float], found: Breakdown) -> None:
    """Print it as two tables: by area, and the heaviest functions."""
    busy = ", ".join(f"{name} {each:.2f}" for name, each in cores.items())
    print(f"{jobs:,} jobs in {seconds:.2f} s under the profiler, which slows; cores busy: {busy}")
    print(f"\n{'area':48}{'us/job':>10}{'share':>8}")
    for area, own_s in found.areas.items():
        print(f"{area:48}{own_s * 1e6 / jobs:10.1f}{own_s / found.total_s:8.1%}")
    outside_s = max(0.0, seconds - found.total_s)
    print(f"{'(outside Python: waiting, uvloop)':48}{outside_s * 1e6 / jobs:10.1f}")
    print(f"\n{'own time of':74}{'us/job':>10}{'calls':>10}")
    for name, own_s, calls in found.functions:
        print(f"{name[-74:]:74}{own_s * 1e6 / jobs:10.1f}{calls:10,}")
