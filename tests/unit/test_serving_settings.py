"""Settings of streams and of agent plugins: what is refused by name, and that a server process keeps to them."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from app.cli.environment import check_plugins, environment
from app.core.access import Principal, Scope
from app.core.errors import NotFound, QuotaExceeded, Unavailable
from app.http.engine import Engine, build_engine
from app.settings import Settings, SettingsError, load


def engine_with(**sections: object) -> Engine:
    nowhere = {"database": {"url": "postgresql://127.0.0.1:1/none"}, "redis": {"url": "redis://127.0.0.1:1/0"}}
    return build_engine(msgspec.convert({**nowhere, **sections}, Settings))


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "1000001", "many"])
@pytest.mark.parametrize("name", ["HAE_STREAMS_PER_KEY", "HAE_STREAMS_PER_PROCESS"])
def test_bounds_that_are_none_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(env={name: value})


@pytest.mark.parametrize("value", ["eliza", "[1]", '{"eliza": true}', "["])
def test_plugins_come_as_a_list_of_names(value: str) -> None:
    with pytest.raises(SettingsError, match="HAE_AGENTS_PLUGINS"):
        load(env={"HAE_AGENTS_PLUGINS": value})


def test_a_process_has_as_many_streams_as_its_settings_say() -> None:
    one = Principal("key_1", "acme", frozenset({Scope.AGENT}))
    other, third = (dataclasses.replace(one, key_id=key_id) for key_id in ("key_2", "key_3"))
    seats = engine_with(streams={"per_key": 2, "per_process": 3}).seats
    taken = [seats.take(one), seats.take(one)]
    with pytest.raises(QuotaExceeded, match="has 2 streams open"):
        seats.take(one)
    seats.take(other)
    with pytest.raises(Unavailable, match="has 3 streams open"):
        seats.take(third)
    taken[0].leave()
    seats.take(third)
    assert seats.total == 3


def test_a_process_loads_the_plugins_that_its_settings_name() -> None:
    assert {"eliza", "hyper_agent"} <= engine_with().plugins.all.keys()
    assert list(engine_with(agents={"plugins": ["hyper_agent"]}).plugins.all) == ["hyper_agent"]


def test_a_process_does_not_start_without_a_plugin_that_its_settings_name() -> None:
    with pytest.raises(NotFound, match="'elisa'") as caught:
        engine_with(agents={"plugins": ["eliza", "elisa"]})
    assert "eliza, " in caught.value.next_action


def test_the_commands_that_serve_refuse_it_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    check_plugins(load(env={"HAE_AGENTS_PLUGINS": '["eliza"]'}))
    monkeypatch.setenv("HAE_AGENTS_PLUGINS", '["elisa"]')
    for component in ("serve", "up"):
        with pytest.raises(SettingsError) as refused, environment(None, component):
            pass
        said = str(refused.value)
        assert said.startswith("agents.plugins (HAE_AGENTS_PLUGINS): no plugin 'elisa' is installed. Installed: ")
        assert "eliza, " in said and "\n" not in said
