"""plugin-hypernode as it lies in the repository, and docs/eliza.md, held against the engine; needs no npm."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from agent_plugins.eliza import ElizaPlugin
from agent_plugins.eliza.actions import ACTIONS
from agent_plugins.protocol import AgentEvent
from app.core.events import EventKind
from app.http.engine import build_engine
from app.http.server import build_app
from tests.support import eliza_tools
from tests.support.eliza_tools import PACKAGE
from tests.support.live_engine import settings_for

DOCS = eliza_tools.DOCS.read_text()
README = (PACKAGE / "README.md").read_text()
ADDRESS = re.compile(r"https?://[^\s\"'`)]*(npmjs|yarnpkg|registry)", re.IGNORECASE)


def package() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PACKAGE / "package.json").read_text())
    return found


def source(name: str) -> str:
    return (PACKAGE / "src" / name).read_text()


def test_the_schemas_are_those_of_the_engines_tools() -> None:
    assert eliza_tools.TARGET.read_text() == eliza_tools.text(), "run: python -m tests.support.eliza_tools"


def test_the_package_is_an_elizaos_plugin() -> None:
    told = package()
    assert (told["name"], told["type"], told["packageType"], told["license"]) == (
        "plugin-hypernode",
        "module",
        "plugin",
        "MIT",
    )
    assert told["agentConfig"]["pluginType"] == "elizaos:plugin:1.0.0"
    settings = told["agentConfig"]["pluginParameters"]
    assert {name for name, one in settings.items() if one["required"]} == {"HYPERNODE_API_KEY"}
    assert {name for name, one in settings.items() if one["sensitive"]} == {
        "HYPERNODE_API_KEY",
        "HYPERNODE_WEBHOOK_SECRET",
    }
    # What is read, what is declared and what is told are the same settings.
    read = set(re.findall(r"HYPERNODE_[A-Z_]+", source("settings.ts")))
    assert read == set(settings)
    for text in (DOCS, README):
        assert set(re.findall(r"^\| `(HYPERNODE_[A-Z_]+)` ", text, re.MULTILINE)) == set(settings)
    assert "dependencies" not in told
    assert set(told["peerDependencies"]) == {"@elizaos/core"}


def test_versions_are_locked_without_addresses_of_registries() -> None:
    lock = json.loads((PACKAGE / "package-lock.json").read_text())
    root = lock["packages"][""]
    for kind in ("devDependencies", "peerDependencies"):
        assert root[kind] == package()[kind]
    assert all(one.get("integrity") for path, one in lock["packages"].items() if path)
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and not {"node_modules", "dist", "build"} & set(path.relative_to(PACKAGE).parts):
            assert not ADDRESS.search(path.read_text()), path


@pytest.mark.parametrize("name", ["SIMILES", "TEXTS", "EXAMPLES"])
def test_every_action_has_all_its_parts(name: str) -> None:
    file = {"SIMILES": "actions.ts", "TEXTS": "texts.ts", "EXAMPLES": "examples.ts"}[name]
    part = source(file).split(f"const {name}")[1].split("\n};")[0]
    assert set(re.findall(r"^  ([A-Z_]+):", part, re.MULTILINE)) == set(ACTIONS)


def test_events_have_the_names_that_the_engine_gives_them() -> None:
    told = set(re.findall(r"`?HYPERNODE_(JOB_[A-Z]+ED)\b", DOCS + README))
    assert {"JOB_COMPLETED", "JOB_FAILED"} <= told <= {kind.value.upper() for kind in EventKind}
    shown = ElizaPlugin().event(AgentEvent(7, "evt_1", "job_completed", "2026-11-26T01:02:03Z", "job_1", "", {"a": 1}))
    assert shown is not None
    assert shown["type"] == "HYPERNODE_JOB_COMPLETED"
    assert shown["text"] == "Job completed of job_1."
    # The members that the package's payload has by itself, besides those of the event.
    members = source("events.ts").split("payload: {\n      ...event.data,\n")[1].split("}")[0]
    assert set(re.findall(r"^ +([A-Za-z]+):", members, re.MULTILINE)) == set(shown["payload"]) - {"a"}


def test_documented_servers_are_what_the_engine_serves() -> None:
    header, in_url, sse, stdio = eliza_tools.documented_servers()
    assert header["headers"] == {"Authorization": "Bearer hae_…"}
    engine = build_engine(settings_for("postgresql://127.0.0.1:1/none", "redis://127.0.0.1:1/0"))
    paths = {path.rstrip("/") for path in build_app(engine).route_handler_method_map}
    for one in (header, in_url, sse):
        assert urlsplit(one["url"]).path.removesuffix("/hae_…") in paths, one
    assert [one["type"] for one in (header, in_url, sse)] == ["streamable-http", "streamable-http", "sse"]
    assert set(stdio["env"]) == {"HYPERNODE_API_KEY", "HYPERNODE_API_URL"}


def characters() -> list[dict[str, Any]]:
    """The character files in the documents."""
    found = re.findall(r"```json\n(.*?)```", DOCS + README, re.DOTALL)
    return [one for one in map(json.loads, found) if "plugins" in one]


def test_documented_characters_are_valid() -> None:
    shown = characters()
    assert [one["plugins"][-1] for one in shown] == ["@elizaos/plugin-mcp", "plugin-hypernode", "plugin-hypernode"]
    parameters = package()["agentConfig"]["pluginParameters"]
    for one in shown[1:]:
        secrets = one["settings"].pop("secrets")
        assert set(one["settings"]) | set(secrets) <= set(parameters)
        assert {name for name in secrets if parameters[name]["sensitive"]} == set(secrets)


def test_the_documented_table_of_actions_is_right() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| `([a-z_]+)` \|", DOCS, re.MULTILINE))
    assert rows == {name: action.tool for name, action in ACTIONS.items()}
