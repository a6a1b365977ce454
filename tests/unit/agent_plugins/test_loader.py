"""Plugins of installed packages: found by entry point, checked, and left out with the reason when they are no good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent_plugins.host import hosts
from agent_plugins.loader import BUILT_IN, GROUP, check_installed, load, load_one
from app.core.errors import InvalidInput, NotFound

MODULE = """
import dataclasses
import sys

from tests.unit.agent_plugins.plugins import Echo


class Good(Echo):
    name = "good"


instance = Good()
instance.name = "instance"


class Eliza(Echo):
    name = "eliza"


class Other(Echo):
    name = "another"


class Old(Echo):
    name = "old"
    protocol = 0


class BadName(Echo):
    name = "Bad Name"


class NoVersion(Echo):
    name = "noversion"
    version = ""


class Twice(Echo):
    name = "twice"

    def describe(self):
        about = super().describe()
        return dataclasses.replace(about, requests=about.requests * 2)


class BadPath(Echo):
    name = "badpath"

    def describe(self):
        about = super().describe()
        return dataclasses.replace(about, requests=(dataclasses.replace(about.requests[0], path="/a b"),))


class BadExample(Echo):
    name = "badexample"

    def describe(self):
        about = super().describe()
        return dataclasses.replace(about, requests=(dataclasses.replace(about.requests[0], example=object()),))


class Quits(Echo):
    name = "quits"

    def describe(self):
        sys.exit(1)


class NoPlugin:
    name = "noplugin"
"""
REASONS = {
    "eliza": "there is a plugin 'eliza' already",
    "other": "it calls itself 'another'",
    "old": "version 0 of the protocol, and this is version 1",
    "badname": "its name must be",
    "noversion": "its version must be",
    "twice": "it describes a path twice",
    "badpath": "'/a b' cannot be a path",
    "badexample": "the example of call is not JSON",
    "quits": "it raised SystemExit",
    "noplugin": "it is no AgentPlugin (agent_plugins.protocol): it has no protocol, version, describe, parse",
    "missing": "has no attribute 'missing'",
    "nowhere": "No module named 'no_such_module_of_plugins'",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with two good plugins and many bad ones."""
    (tmp_path / "package_of_plugins.py").write_text(MODULE)
    metadata = tmp_path / "package_of_plugins-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: package-of-plugins\nVersion: 1.0\n")
    classes = ("Good", "Eliza", "Other", "Old", "BadName", "NoVersion", "Twice", "BadPath", "BadExample", "Quits")
    names = (*classes, "NoPlugin", "instance", "missing")
    lines = [f"{name.lower()} = package_of_plugins:{name}" for name in names]
    lines.append("nowhere = no_such_module_of_plugins:Plugin")
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_without_packages_there_are_the_built_in_ones() -> None:
    found = load()
    assert list(found.plugins) == list(BUILT_IN)
    assert found.problems == ()
    assert all(one.built_in for one in found.plugins.values())


@pytest.mark.usefixtures("package")
def test_good_ones_are_found_after_the_built_in() -> None:
    found = load().plugins
    assert list(found) == [*BUILT_IN, "good", "instance"]
    assert not found["good"].built_in
    assert found["good"].source == "package_of_plugins:Good"
    assert found["good"].about.requests[0].path == "call"


@pytest.mark.usefixtures("package")
def test_bad_ones_are_left_out_with_the_reason() -> None:
    problems = load().problems
    assert len(problems) == len(REASONS)
    for name, reason in REASONS.items():
        (told,) = [line for line in problems if line.startswith(f"plugin {name!r} (")]
        assert reason in told


@pytest.mark.usefixtures("package")
def test_only_those_that_are_wanted_are_loaded() -> None:
    found = load(["good", "old"])
    assert list(found.plugins) == ["good"]
    (problem,) = found.problems
    assert problem.startswith("plugin 'old' (")


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("start", [load, hosts, check_installed])
def test_a_name_that_none_has_is_refused_with_those_there_are(start: Callable[[list[str]], object]) -> None:
    with pytest.raises(NotFound, match="'absent'") as caught:
        start(["good", "absent"])
    installed = caught.value.next_action.removeprefix("Installed: ").removesuffix(".").split(", ")
    assert {*BUILT_IN, "good", "old"} <= set(installed)
    assert "absent" not in installed


@pytest.mark.usefixtures("package")
def test_one_is_loaded_by_its_name_or_by_its_place() -> None:
    assert load_one("good").source == "package_of_plugins:Good"
    assert load_one("eliza").built_in
    assert load_one("package_of_plugins:BadName.__base__").plugin.name == "echo"
    with pytest.raises(InvalidInput, match="version 0 of the protocol"):
        load_one("old")
    with pytest.raises(InvalidInput, match="it is no AgentPlugin"):
        load_one("package_of_plugins:NoPlugin")
    with pytest.raises(InvalidInput, match="no_such_module_of_plugins"):
        load_one("no_such_module_of_plugins:Plugin")


@pytest.mark.usefixtures("package")
def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(NotFound) as caught:
        load_one("nobody")
    assert "eliza, " in caught.value.next_action and "good, " in caught.value.next_action
