"""The chaos suite is tested itself: with a planted bug in the engine it must report what that bug breaks.

All of them take a quarter of an hour: LONG_TESTS=1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from app.chaos.bugs import BUGS
from app.chaos.engine import Size
from app.chaos.run import ChaosOptions, run

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

JOBS, SEEDS, RUN_S = 240, (1, 2, 3), 300
LONG = pytest.mark.skipif(not os.environ.get("LONG_TESTS"), reason="takes a minute a bug: LONG_TESTS=1")
SMALL = Size(serves=1, workers=1, listeners=1, nodes=8, legacy=0)


def shown(name: str, violations: list[str]) -> set[str]:
    """Names of the violations that tell of the bug ``name``."""
    return {violation.partition(":")[0] for violation in violations} & set(BUGS[name].shows)


async def test_the_smallest_run_catches_a_bug() -> None:
    # Of this seed's submits, four are sent again under their keys.
    options = ChaosOptions(jobs=15, bug="no_unique_key", kinds=BUGS["no_unique_key"].faults, size=SMALL)
    result = await run(11, options, print)
    assert shown("no_unique_key", result.violations), result.violations


@LONG
@pytest.mark.parametrize("name", BUGS)
def test_every_bug_is_caught(name: str) -> None:
    """By one of the seeds that CI runs: some bugs do harm only when two things meet, which no seed can order."""
    assert any(caught(name, seed) for seed in SEEDS)


def caught(name: str, seed: int) -> bool:
    """Whether a run with the bug tells of what it breaks."""
    faults = ",".join(BUGS[name].faults)
    command = ["-m", "app", "chaos", "--seed", str(seed), "--jobs", str(JOBS), "--faults", faults, "--bug", name]
    done = subprocess.run(
        [sys.executable, *command, "--json"], capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode in (0, 1), f"exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    violations = json.loads(done.stdout)["violations"]
    print(f"{name}, seed {seed}: {sorted(shown(name, violations)) or violations[:5]}")
    return bool(shown(name, violations))
