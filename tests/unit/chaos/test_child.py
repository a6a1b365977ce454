from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.chaos import child
from app.chaos.child import SkewFile

_CLOCKS = """
import json, sys, time
from datetime import UTC, datetime
from pathlib import Path
from app.chaos.child import SkewFile, skew_clocks

def clocks():
    return [time.time(), time.time_ns() / 1e9, datetime.now(UTC).timestamp(), datetime.now().timestamp()]

right, monotonic = clocks(), time.monotonic()
file = SkewFile(Path(sys.argv[1]))
skew_clocks(file.read)
still = clocks()
SkewFile(Path(sys.argv[1])).write(-3600.0)
print(json.dumps([right, still, clocks(), time.monotonic() - monotonic, type(datetime.now()) is datetime]))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_clocks_are_wrong_by_what_the_file_says_at_the_time(tmp_path: Path) -> None:
    path = tmp_path / "skew"
    SkewFile(path, create=True)
    done = run("-c", _CLOCKS, str(path))
    assert done.returncode == 0, done.stderr
    right, still, wrong, elapsed, same_type = json.loads(done.stdout)
    # Far more than the reading takes, far less than the skew.
    assert still == pytest.approx(right, abs=600)
    assert [clock + 3600 for clock in wrong] == pytest.approx(right, abs=600)
    assert 0 <= elapsed < 600
    assert same_type
    assert SkewFile(path).read() == -3600.0


def test_it_runs_the_command_line_with_its_own_options(tmp_path: Path) -> None:
    SkewFile(tmp_path / "skew", create=True)
    done = run("-m", "app.chaos.child", "--skew", str(tmp_path / "skew"), "--", "graph", "--help")
    assert done.returncode == 0, done.stderr
    assert "hae graph" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bug", "nonsense", "--", "worker"], "there is no planted bug nonsense; there are accept_after_expiry"),
        (["--skew", "/nowhere/skew", "--", "worker"], "--skew /nowhere/skew: "),
        ([], "the following arguments are required: command"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        child.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
