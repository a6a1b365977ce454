"""Where the engine is and who asks, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

URL_VARIABLE = "HYPERNODE_API_URL"
KEY_VARIABLE = "HYPERNODE_API_KEY"
LOCAL = "http://127.0.0.1:3002"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class ConfigError(Exception):
    """What is missing or wrong, and what to do; made for people."""


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """``endpoint``: the address of the engine's ``/mcp``. ``warning``: what the user should know, empty = nothing."""

    endpoint: str
    key: str
    warning: str = ""


def from_environment(environment: Mapping[str, str], url: str = "") -> BridgeConfig:
    """The settings; ``url`` goes before the environment's. Raises ConfigError."""
    key = environment.get(KEY_VARIABLE, "").strip()
    if not key:
        raise ConfigError(
            f'{KEY_VARIABLE} is not set. Put an API key there, in the client\'s configuration under "env"; operators '
            "of the engine make keys with: hae keys create --scope agent"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{KEY_VARIABLE} holds characters that no key has; it looks like hae_… and has no spaces")
    url = (url or environment.get(URL_VARIABLE, "") or LOCAL).strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{URL_VARIABLE} must be an address such as https://hae.example.org or {LOCAL}, not {url!r}")
    warning = ""
    if parts.scheme == "http" and host not in _LOOPBACK:
        warning = f"the key travels unencrypted to {host}: use https"
    return BridgeConfig(url if url.endswith("/mcp") else f"{url}/mcp", key, warning)
