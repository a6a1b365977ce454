"""`hae plugin` where it needs no process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent_plugins import loader
from app.cli.environment import CommandError
from app.cli.main import application


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application(["plugin"]), ["plugin", *arguments], env={"COLUMNS": "200"})


def test_the_list_names_what_each_takes_and_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run("list")
    assert whole.exit_code == 0
    assert "eliza" in whole.output and "negotiate" in whole.output
    monkeypatch.setattr(loader, "BUILT_IN", {**loader.BUILT_IN, "lost": "no_such_module:Plugin"})
    partial = run("list")
    assert partial.exit_code == 1
    assert "plugin 'lost' (no_such_module:Plugin) is left out: ModuleNotFoundError" in partial.output
    told = json.loads(run("list", "--json").output)
    assert [one["name"] for one in told["plugins"]] == ["eliza", "hyper_agent"]
    assert len(told["problems"]) == 1


def test_a_check_shows_an_area_a_line_and_the_verdict() -> None:
    done = run("check", "tests.unit.agent_plugins.plugins:Echo")
    assert done.exit_code == 0
    assert "ok  unknown fields: 1 of 1" in done.output
    assert done.output.endswith("echo 1.0 conforms\n")


CARELESS = """
from agent_plugins.eliza.plugin import ElizaPlugin


class Careless(ElizaPlugin):
    def parse(self, request):
        return super().parse(request)[: len(request.body["options"])]
"""


def test_one_in_the_working_directory_that_does_not_conform_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "careless_plugin.py").write_text(CARELESS)
    monkeypatch.chdir(tmp_path)
    done = run("check", "careless_plugin:Careless")
    assert done.exit_code == 1
    assert "no  hostile" in done.output and "ok  events" in done.output
    assert "raised TypeError" in done.output and "Traceback" not in done.output
    assert "eliza 1.0.0 does not conform: " in done.output
    report = json.loads(run("check", "careless_plugin:Careless", "--json").output)
    assert report["conforms"] is False
    assert any("raised TypeError" in case["fault"] for case in report["cases"])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nobody", "no plugin 'nobody' is installed. Installed: eliza, hyper_agent"),
        ("no_such_module:Plugin", "No module named 'no_such_module'"),
        ("json:loads", "it is no AgentPlugin"),
    ],
)
def test_one_that_is_not_there_is_wrong_usage(name: str, told: str) -> None:
    error = run("check", name).exception
    assert isinstance(error, CommandError)
    assert told in str(error)
