"""Putting the settings together: defaults < file < environment < files named by the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import inspect as kinds

from app.core.errors import InvalidInput
from app.core.money import parse_price
from app.settings.given import Given, SettingsError
from app.settings.leaves import LEAVES, ROOT
from app.settings.leaves import Path as Key
from app.settings.sources import from_environment, from_file
from app.settings.tree import Settings
from app.settings.values import check_network, coerce


def load(config_file: Path | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process.

    ``config_file``: JSON or TOML; without it the file that HAE_CONFIG names, if any. ``env``: os.environ by
    default. Raises SettingsError, a single line fit for the terminal, for anything wrong.
    """
    env = os.environ if env is None else env
    if config_file is None and env.get("HAE_CONFIG"):
        config_file = Path(env["HAE_CONFIG"])
    given = from_file(config_file) if config_file is not None else {}
    given |= from_environment(env)
    values = {key: coerce(LEAVES[key].type, each) for key, each in given.items()}
    settings: Settings = _built(ROOT, (), values)
    _check(settings, given)
    return settings


def _built(info: kinds.StructType, prefix: Key, values: Mapping[Key, Any]) -> Any:
    chosen: dict[str, Any] = {}
    for field in info.fields:
        key = (*prefix, field.name)
        inner = field.type.type if isinstance(field.type, kinds.Metadata) else field.type
        if isinstance(inner, kinds.StructType):
            chosen[field.name] = _built(inner, key, values)
        elif key in values:
            chosen[field.name] = values[key]
    return info.cls(**chosen)


def _check(settings: Settings, given: Mapping[Key, Given]) -> None:
    """What the type and range of a single value cannot say."""

    def where(*key: str) -> str:
        return given[key].where if key in given else LEAVES[key].env

    price = settings.nodes.default_price_hyper
    try:
        parse_price(price)
    except InvalidInput:
        Given(price, where("nodes", "default_price_hyper")).refuse(
            'a decimal of HYPER above 0 with at most nine decimals, such as "0.1"', but="this one"
        )
    weights = settings.matchmaker.weights
    if not (weights.reputation or weights.stake or weights.completion or weights.load or weights.response):
        raise SettingsError(
            f"{where('matchmaker', 'weights', 'reputation')}: one of the weights reputation, stake, "
            "completion, load and response must be more than 0"
        )
    nodes = settings.nodes
    if nodes.heartbeat_interval_s >= nodes.offline_after_s:
        interval = ("nodes", "heartbeat_interval_s")
        longest = where("nodes", "offline_after_s")
        raise SettingsError(
            f"{where(*interval)}: must be less than {longest} ({nodes.offline_after_s:g}), or nodes would be "
            f"offline between two heartbeats, not {nodes.heartbeat_interval_s:g}"
        )
    for n, network in enumerate(settings.webhooks.allow_networks):
        check_network(Given(network, f"{where('webhooks', 'allow_networks')}[{n}]"))
    names = [endpoint.name for endpoint in settings.webhooks.endpoints]
    for n, name in enumerate(names):
        if name in names[:n]:
            raise SettingsError(f"{where('webhooks', 'endpoints')}[{n}].name: the same as in [{names.index(name)}]")
