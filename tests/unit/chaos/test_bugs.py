from __future__ import annotations

import json
import subprocess
import sys

import pytest

from app.chaos import bugs
from app.chaos.bugs import BUGS
from app.chaos.bugs_planting import Bug, Change, OutgrownError, altered, modules, plant


def test_there_are_twelve() -> None:
    assert len(BUGS) == 12


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_the_product_has_outgrown_no_bug(bug: Bug) -> None:
    assert bug.changes or bug.schema
    assert bug.breaks and bug.shows
    for module, source in modules(bug).items():
        compile(source, module, "exec")


@pytest.mark.parametrize("source", ["a = 2\n", "a = 1\na = 1\n"])
def test_text_that_is_not_there_once_is_an_error(source: str) -> None:
    assert altered("m", "a = 1\n", [Change("m", "a = 1", "a = 3")]) == "a = 3\n"
    with pytest.raises(OutgrownError, match=r"m reads 'a = 1' [02] times, not once"):
        altered("m", source, [Change("m", "a = 1", "a = 3")])


def test_a_module_that_is_in_already_is_an_error() -> None:
    with pytest.raises(OutgrownError, match="imported before"):
        plant(Bug("late", "", (Change("app.chaos.bugs", "Planted bugs: ", ""),)))
    with pytest.raises(OutgrownError, match="no module"):
        plant(Bug("nowhere", "", (Change("app.chaos.nowhere", "a", "b"),)))


def test_a_planted_bug_is_in_what_is_imported_afterwards() -> None:
    code = (
        "import json; from app.chaos import bugs; bugs.plant('async_commit'); from app.store.db import Database; "
        "print(json.dumps(Database('postgresql://nowhere')._options['server_settings']))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert json.loads(said)["synchronous_commit"] == "off"


def test_bugs_touch_nothing_that_they_do_not_name() -> None:
    assert all(change.module.split(".")[:2] != ["app", "chaos"] for bug in bugs.BUGS.values() for change in bug.changes)
