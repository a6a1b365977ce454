"""docs/plugins.md: its plugin conforms, its signature is right, its tables are complete."""

from __future__ import annotations

import importlib
import re
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent_plugins import conformance
from agent_plugins.eliza.actions import ACTIONS
from agent_plugins.hyper_agent.requests import INTENTS
from agent_plugins.loader import GROUP
from app.services.signed_calls import secret_of
from app.webhooks import signing

TEXT = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text()
PYTHON: list[str] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def block(mark: str) -> str:
    (found,) = [one for one in PYTHON if mark in one]
    return found


def test_its_plugin_conforms_and_is_found_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("shouting.py", "test_shouting.py"):
        (tmp_path / name).write_text(block(f"# {name}"))
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = importlib.import_module("shouting").ShoutingPlugin()
    assert [(str(one.case), one.fault) for one in conformance.check(plugin) if not one.passed] == []
    (toml,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert tomllib.loads(toml)["project"]["entry-points"][GROUP] == {"shouting": "shouting:ShoutingPlugin"}
    test = importlib.import_module("test_shouting").test_it_conforms
    (mark,) = [one for one in test.pytestmark if one.name == "parametrize"]
    assert len(mark.args[1]) > 80


def test_its_signature_is_that_of_the_engine() -> None:
    names: dict[str, Any] = {}
    exec(compile(block("def signed("), "docs/plugins.md", "exec"), names)
    headers, body = names["signed"]("hae_key", "msg_1", {"action": "QUOTE"})
    assert signing.verify(secret_of("hae_key"), headers, body, time.time())
    assert not signing.verify(secret_of("hae_other"), headers, body, time.time())


def test_its_tables_name_all_areas_actions_and_intents() -> None:
    plugin = importlib.import_module("tests.unit.agent_plugins.plugins").Echo()
    for area in {case.area for case in conformance.cases(plugin)}:
        assert f"| {area} |" in TEXT
    for action in ACTIONS.values():
        assert f"| {action.name} | `{action.tool}`" in TEXT
    for intent in INTENTS:
        assert f"| `{intent}` |" in TEXT


def test_every_block_of_python_can_be_read() -> None:
    assert len(PYTHON) == 4
    for one in PYTHON:
        compile(one, "docs/plugins.md", "exec")
