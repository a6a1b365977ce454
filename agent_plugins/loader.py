"""Finds plugins: those that come with the engine, and those of installed packages (entry points `hae.agent_plugins`).

A package's plugin that cannot be loaded, or is no plugin, is left out with the reason; the engine starts all the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Final

import msgspec

from agent_plugins.isolation import told, within
from agent_plugins.protocol import PROTOCOL, About, AgentPlugin, RequestInfo
from app.core.errors import HaeError, InvalidInput, NotFound

GROUP: Final = "hae.agent_plugins"
LOAD_S: Final = 10.0
BUILT_IN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "eliza": "agent_plugins.eliza.plugin:ElizaPlugin",
        "hyper_agent": "agent_plugins.hyper_agent:HyperAgentPlugin",
    }
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PATH = re.compile(r"[A-Za-z0-9._~-]{1,60}(/[A-Za-z0-9._~-]{1,60}){0,5}")
_TAKEN = frozenset({"events"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A plugin and what it says of itself. ``source``: ``module:attribute``."""

    plugin: AgentPlugin
    about: About
    source: str
    built_in: bool


@dataclass(frozen=True, slots=True)
class Found:
    """Plugins by name, and what is wrong with those that are left out, a line each."""

    plugins: Mapping[str, Loaded]
    problems: tuple[str, ...]


def load(names: Collection[str] = ()) -> Found:
    """All plugins, or those of these ``names``. Imports their code; takes LOAD_S for each at most.

    Raises NotFound, listing the installed ones, for a name that none has.
    """
    check_installed(names)
    known: dict[str, Loaded] = {}
    problems: list[str] = []
    entries = [(name, source, True) for name, source in BUILT_IN.items()]
    found = {(one.name, one.value) for one in entry_points(group=GROUP)}
    entries += [(name, source, False) for name, source in sorted(found) if BUILT_IN.get(name) != source]
    for name, source, built_in in entries:
        if names and name not in names:
            continue
        try:
            if name in known:
                raise InvalidInput(f"there is a plugin {name!r} already")
            loaded = within(LOAD_S, lambda source=source: _load(source))  # type: ignore[misc]
            if loaded.plugin.name != name:
                raise InvalidInput(f"it calls itself {loaded.plugin.name!r}: its entry point must have that name")
            known[name] = Loaded(loaded.plugin, loaded.about, source, built_in)
        except Exception as error:  # another's code: whatever it raises must not stop the engine
            why = error.detail if isinstance(error, HaeError) else told(error)
            problems.append(f"plugin {name!r} ({source}) is left out: {why}")
    return Found(MappingProxyType(known), tuple(problems))


def check_installed(names: Collection[str], elsewhere: str = "") -> None:
    """Raises NotFound, listing the installed ones, for a name that no plugin has, whether or not it can be loaded.
    Imports no plugin's code. ``elsewhere``: where else one may come from."""
    installed = sorted({*BUILT_IN, *(one.name for one in entry_points(group=GROUP))})
    for name in names:
        if name not in installed:
            raise NotFound(
                f"no plugin {name[:60]!r} is installed",
                code="plugin_not_found",
                next_action=f"Installed: {', '.join(installed)}{elsewhere}.",
            )


def load_one(target: str) -> Loaded:
    """The plugin of that name, or at ``module:attribute``.

    Raises NotFound, listing the installed ones, and InvalidInput, saying what is wrong with it.
    """
    if ":" not in target:
        check_installed((target,), "; or name one as module:attribute")
        found = load((target,))
        if target not in found.plugins:
            raise InvalidInput("; ".join(found.problems), field="name")
        return found.plugins[target]
    try:
        return within(LOAD_S, lambda: _load(target))
    except HaeError as error:
        raise InvalidInput(f"{target}: {error.detail}", field="name") from error
    except Exception as error:  # another's code may raise anything while it is imported
        raise InvalidInput(f"{target} cannot be loaded: {told(error)}", field="name") from error


def _load(source: str) -> Loaded:
    module, _, path = source.partition(":")
    found: Any = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    plugin = found() if isinstance(found, type) else found
    return Loaded(plugin, check(plugin), source, built_in=source in BUILT_IN.values())


def check(plugin: Any) -> About:
    """What the plugin says of itself. Raises InvalidInput, saying what is wrong, unless it has the protocol's shape."""
    if not isinstance(plugin, AgentPlugin):
        wanted = ("protocol", "name", "version", "describe", "parse", "render", "render_error", "event")
        missing = ", ".join(name for name in wanted if not hasattr(plugin, name))
        raise InvalidInput(f"it is no AgentPlugin (agent_plugins.protocol): it has no {missing}")
    if plugin.protocol != PROTOCOL:
        raise InvalidInput(f"it is for version {plugin.protocol!r} of the protocol, and this is version {PROTOCOL}")
    name: Any = plugin.name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput("its name must be 1 to 40 small letters, digits and underscores")
    version: Any = plugin.version
    if not isinstance(version, str) or not 1 <= len(version) <= 40:
        raise InvalidInput("its version must be a text of 1 to 40 characters")
    about = plugin.describe()
    if not isinstance(about, About):
        raise InvalidInput("describe() must give an About")
    _check_text(about.summary, "its summary")
    paths = [_check_request(info) for info in about.requests]
    if len(set(paths)) < len(paths):
        raise InvalidInput("it describes a path twice")
    return about


def _check_request(info: Any) -> str:
    if not isinstance(info, RequestInfo):
        raise InvalidInput("describe().requests must be RequestInfos")
    path: Any = info.path
    if not isinstance(path, str) or not _PATH.fullmatch(path) or path in _TAKEN:
        raise InvalidInput(f"{str(path)[:80]!r} cannot be a path of a plugin")
    _check_text(info.summary, f"the summary of {info.path}")
    if not all(isinstance(tool, str) for tool in info.tools):
        raise InvalidInput(f"the tools of {info.path} must be names")
    try:
        msgspec.json.encode(info.example)
    except Exception as error:
        raise InvalidInput(f"the example of {info.path} is not JSON: {told(error)}") from error
    return info.path


def _check_text(text: Any, what: str) -> None:
    if not isinstance(text, str) or not 10 <= len(text) <= 1000:
        raise InvalidInput(f"{what} must be a text of 10 to 1000 characters")
