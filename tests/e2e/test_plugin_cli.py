"""`hae plugin` in a process of its own, and the example plugin as a third party builds and installs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import agent_plugins

pytestmark = pytest.mark.e2e

ROOT = Path(agent_plugins.__file__).parent.parent
EXAMPLE = ROOT / "agent_plugins" / "examples" / "openai_tools"


def run(*command: str, path: Path = ROOT, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", *command],
        env=environment,
        cwd=cwd or ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example lies once it is built as a wheel and installed, entry point and all."""
    scratch = tmp_path_factory.mktemp("example")
    source = scratch / "source"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    built = run("hatchling", "build", "-t", "wheel", "-d", str(scratch / "dist"), cwd=source)
    assert built.returncode == 0, built.stderr
    (wheel,) = (scratch / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch / "site")
    return scratch / "site"


def test_the_example_is_found_and_conforms_once_it_is_installed(installed: Path) -> None:
    listed = run("app", "plugin", "list", "--json", path=installed)
    assert listed.returncode == 0, listed.stderr
    told = {one["name"]: one for one in json.loads(listed.stdout)["plugins"]}
    assert list(told) == ["eliza", "hyper_agent", "openai_tools"]
    assert told["openai_tools"]["source"] == "hae_openai_tools:OpenAIToolsPlugin"
    assert not told["openai_tools"]["built_in"]
    checked = run("app", "plugin", "check", "openai_tools", "--json", path=installed)
    assert checked.returncode == 0, checked.stdout
    report = json.loads(checked.stdout)
    assert report["conforms"] and report["plugin"] == "openai_tools"
    assert len(report["cases"]) > 80 and all(case["passed"] for case in report["cases"])


@pytest.mark.skipif(not os.environ.get("LONG_TESTS"), reason="loads all the tools once more: LONG_TESTS=1")
def test_its_own_tests_pass_as_its_author_runs_them(installed: Path) -> None:
    source = installed.parent / "source"
    done = run("pytest", "-q", "-p", "no:cacheprovider", path=ROOT, cwd=source)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
