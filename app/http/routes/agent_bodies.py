"""What the routes of plugins answer."""

from typing import Any

import msgspec

from agent_plugins.host import Host, Hosts


class PluginRequest(msgspec.Struct, kw_only=True):
    """A request that a plugin takes: send ``example``, or the like, to ``path``. ``tools``: what it may come to."""

    path: str
    summary: str
    example: Any
    tools: list[str]


class PluginAnswer(msgspec.Struct, kw_only=True):
    """A plugin. ``events``: whether it shows any. ``off``: it hung too often, and answers no more."""

    name: str
    version: str
    summary: str
    requests: list[PluginRequest]
    events: bool
    off: bool


class PluginsAnswer(msgspec.Struct, kw_only=True):
    plugins: list[PluginAnswer]


class PluginWebhook(msgspec.Struct, kw_only=True):
    """Where signed messages of the calling key go, and the secret that signs them (Standard Webhooks)."""

    path: str
    key_id: str
    secret: str


class PluginStanding(msgspec.Struct, kw_only=True):
    """How a plugin does since this process started: failures, hangs, threads that it has not given back."""

    name: str
    version: str
    source: str
    built_in: bool
    off: bool
    failures: int
    hangs: int
    stuck: int
    last_error: str


class PluginStandings(msgspec.Struct, kw_only=True):
    """``problems``: plugins that were left out, and why."""

    plugins: list[PluginStanding]
    problems: list[str]


def shown(host: Host) -> PluginAnswer:
    """The plugin as agents see it."""
    plugin, about = host.loaded.plugin, host.loaded.about
    requests = [
        PluginRequest(path=one.path, summary=one.summary, example=one.example, tools=list(one.tools))
        for one in about.requests
    ]
    return PluginAnswer(
        name=plugin.name,
        version=plugin.version,
        summary=about.summary,
        requests=requests,
        events=about.events,
        off=host.guard.off,
    )


def standings_of(plugins: Hosts) -> PluginStandings:
    """The plugins as operators see them."""
    return PluginStandings(
        plugins=[
            PluginStanding(
                name=name,
                version=host.loaded.plugin.version,
                source=host.loaded.source,
                built_in=host.loaded.built_in,
                off=host.guard.off,
                failures=host.guard.failures,
                hangs=host.guard.hangs,
                stuck=host.guard.stuck,
                last_error=host.guard.last_error,
            )
            for name, host in plugins.all.items()
        ],
        problems=list(plugins.problems),
    )
