"""`hae demo` itself, small: real servers, real processes, real HTTP, a real SVM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KEYS = {
    "submitted",
    "completed",
    "failed",
    "unplaced",
    "unplaced_feasible",
    "violations",
    "oversubscribed",
    "lost",
    "fallbacks",
    "submit_to_assigned_ms",
    "webhooks_delivered",
    "chain",
    "seconds",
}


@pytest.fixture
def place() -> Any:
    """A directory for temporary files that a demo must leave empty; short, and open to the servers' user."""
    with tempfile.TemporaryDirectory(prefix="hae-") as path:
        Path(path).chmod(0o711)
        yield Path(path)
        assert list(Path(path).iterdir()) == []
        assert [one for one in psutil.process_iter(["environ"]) if _of(one, path)] == []


def _of(process: psutil.Process, path: str) -> bool:
    return (process.info["environ"] or {}).get("TMPDIR") == path


def start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    env = os.environ | {"TMPDIR": str(place), "DATABASE_URL": "postgresql://nowhere.invalid/nothing"}
    command = [sys.executable, "-m", "app", "demo", *arguments]
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def play(place: Path, *arguments: str) -> dict[str, Any]:
    with start(place, "--json", *arguments) as demo:
        out, told = demo.communicate(timeout=150)
    assert demo.returncode == 0, told
    result: dict[str, Any] = json.loads(out)
    return result


def test_a_small_demo_ends_well(place: Path) -> None:
    result = play(place, "--nodes", "60", "--jobs", "120", "--workers", "2")
    assert result.keys() == KEYS
    assert result["submitted"] == 120
    assert result["completed"] + result["failed"] + result["unplaced"] == 120
    assert result["completed"] > 60
    assert (result["violations"], result["oversubscribed"], result["lost"]) == (0, 0, 0)
    assert result["webhooks_delivered"] >= result["completed"]
    audited(result, jobs=120, nodes=60)
    assert result["submit_to_assigned_ms"]["p99"] >= result["submit_to_assigned_ms"]["p50"] > 0


def audited(result: dict[str, Any], jobs: int, nodes: int) -> None:
    """The chain's side: nothing missing, nothing too much, every payment judged as it deserves."""
    chain = result["chain"]
    faults = ("events_missing", "events_extra", "quarantined", "unplanned", "mistaken", "standing_off")
    assert [chain[name] for name in faults] == [0] * len(faults)
    assert chain["payments_off_hyper"] == "0"
    assert chain["settled"] + chain["disputed"] == result["completed"]
    assert chain["settled"] > chain["disputed"] > 0
    assert sum(chain["linked_by"].values()) == jobs
    assert chain["linked_by"]["defaults"] == 2 and min(chain["linked_by"].values()) > 0
    # Registered; created; assigned, completed and paid, or cancelled.
    lives = nodes + 2 * jobs + 2 * result["completed"]
    assert lives <= chain["events"] <= lives + result["completed"]
    assert chain["forks"] == 1
    assert chain["created_to_matched_ms"]["p99"] >= chain["created_to_matched_ms"]["p50"] > 0


@pytest.mark.chaos
def test_nothing_is_lost_when_the_worker_and_the_listener_are_killed(place: Path) -> None:
    kills = ("--kill-worker-at", "0.3", "--kill-listener-at", "0.5")
    result = play(place, "--nodes", "60", "--jobs", "150", *kills)
    assert result["completed"] + result["failed"] + result["unplaced"] == result["submitted"] == 150
    assert (result["violations"], result["oversubscribed"], result["lost"]) == (0, 0, 0)
    audited(result, jobs=150, nodes=60)


def test_an_interrupted_demo_leaves_nothing_behind(place: Path) -> None:
    with start(place, "--nodes", "20", "--jobs", "20", "--keep") as demo:
        assert demo.stderr is not None
        for line in demo.stderr:
            if "submits" in line:
                break
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    assert demo.returncode == 130
