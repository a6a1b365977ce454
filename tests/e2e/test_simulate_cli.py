"""`hae simulate` and `hae policy` as people use them: no server, no socket, real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HAE = [sys.executable, "-m", "app"]
HOME = {name: value for name, value in os.environ.items() if not name.startswith(("HAE_", "DATABASE_", "REDIS_"))}
pytestmark = pytest.mark.e2e


def hae(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HAE, *arguments], env=HOME, capture_output=True, text=True, timeout=60, check=False)


def test_a_simulation_leaves_results_and_a_picture(tmp_path: Path) -> None:
    out = tmp_path / "made" / "here"
    done = hae("simulate", "--nodes", "60", "--jobs", "300", "--hours", "2", "--seed", "3", "--json", "--out", str(out))
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    kept = json.loads((out / "results.json").read_text())
    assert kept == figures
    assert (figures["nodes"], figures["jobs"]["counted"], figures["seed"]) == (60, 300, 3)
    assert figures["placed_pct"] > 90
    assert (out / "chart.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_policies_are_listed_and_compared(tmp_path: Path) -> None:
    listed = json.loads(hae("policy", "list", "--json").stdout)
    names = [policy["name"] for policy in listed["policies"]]
    assert names[:4] == ["reputation_weighted", "cheapest", "fastest", "spread"]
    assert all(policy["summary"] and sum(policy["weights"].values()) for policy in listed["policies"])
    done = hae("policy", "compare", "--nodes", "100")
    assert done.returncode == 0, done.stderr
    for name in names:
        assert name in done.stdout
    assert "regret" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["simulate", "--policy", "best"], "hae: unknown policy 'best'; known are reputation_weighted"),
        (["simulate", "--decline", "nan"], "Invalid value for '--decline'"),
        (["simulate", "--out", "/dev/null/here"], "hae: cannot make the directory /dev/null/here"),
        (["policy", "compare", "--recorded", "/nowhere"], "hae: cannot read /nowhere"),
        (["policy", "compare", "--recorded", __file__], "hae: line 1: no part of a recording"),
    ],
)
def test_mistakes_are_one_clear_line_and_exit_code_2(arguments: list[str], told: str) -> None:
    done = hae(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_a_run_with_the_part_that_is_done() -> None:
    process = subprocess.Popen(
        [*HAE, "simulate", "--jobs", "400000", "--hours", "1000", "--nodes", "500", "--json"],
        env=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    answer, errors = process.communicate(timeout=60)
    assert "of 400,000 jobs" in first
    assert process.returncode == 130, errors
    figures = json.loads(answer)
    assert figures["complete"] is False
    assert 0 < figures["jobs"]["counted"] < 400_000
