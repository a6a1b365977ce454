"""Where settings come from: the configuration file, the environment, and files that the environment names."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import inspect as kinds

from app.settings.given import Given, SettingsError, members, parse_json, quoted, suggestion
from app.settings.leaves import ENVIRONMENT, LEAVES, LEGACY, NOT_SETTINGS, PREFIX, names_below
from app.settings.leaves import Path as Key
from app.settings.values import coerce

MAX_FILE_BYTES = 1_048_576
_FILE = "_FILE"
_TEXT = kinds.StrType(min_length=1)
_PORT = kinds.IntType(ge=1, le=65_535)
_LEGACY_KEYS = {
    "database": ("host", "port", "database", "user", "password"),
    "redis": ("host", "port"),
    "matchmaker": ("max_retries",),
    "solana": ("program_ids",),
}
_PROGRAMS = ("node_registry", "job_receipt", "payment_splitter")


def from_file(path: Path) -> dict[Key, Given]:
    """What a .json or .toml file sets; raises SettingsError if it cannot be read or has an unknown key."""
    found: dict[Key, Given] = {}
    for section, given in members(Given(_parsed(path), f"{quoted(path.name)}:"), names_below(())).items():
        own = names_below((section,))
        for name, value in members(given, [*own, *_LEGACY_KEYS.get(section, ())]).items():
            found.update(_flat((section, name), value))
    return _modernised(found)


def _parsed(path: Path) -> Any:
    name = quoted(str(path))
    if path.suffix not in (".json", ".toml"):
        raise SettingsError(f"{name}: a configuration file's name must end in .json or .toml")
    text = _read(path, f"configuration file {name}")
    try:
        return tomllib.loads(text) if path.suffix == ".toml" else parse_json(text)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if isinstance(error, ValueError) else "nested too deeply"
        raise SettingsError(f"{name}: not valid {path.suffix[1:].upper()}: {quoted(reason)}") from None


def _read(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise SettingsError(f"{what} cannot be read ({reason})") from None
    if len(content) > MAX_FILE_BYTES:
        raise SettingsError(f"{what} is larger than {MAX_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"{what} is not UTF-8") from None


def _flat(key: Key, given: Given) -> Iterator[tuple[Key, Given]]:
    leaf = LEAVES.get(key)
    if leaf is None or leaf.branch is None:
        yield key, given
        return
    for name, member in members(given, names_below(key)).items():
        yield from _flat((*key, name), member)


def _modernised(found: dict[Key, Given]) -> dict[Key, Given]:
    """The keys of the engine this one replaces, turned into today's."""
    for section in ("database", "redis"):
        parts = {n: found.pop((section, n)) for n in _LEGACY_KEYS[section] if (section, n) in found}
        if parts:
            url = _postgresql(parts) if section == "database" else _redis(parts)
            first = next(iter(parts.values()))
            _put(found, (section, "url"), Given(url, first.where))
    retries = found.pop(("matchmaker", "max_retries"), None)
    if retries is not None:
        _put(found, ("jobs", "max_retries"), retries)
    programs = found.pop(("solana", "program_ids"), None)
    for name, given in members(programs, _PROGRAMS).items() if programs else ():
        _put(found, ("solana", f"{name}_program_id"), given)
    return found


def _put(found: dict[Key, Given], key: Key, given: Given) -> None:
    if key in found:
        raise SettingsError(f"{given.where}: sets the same as {found[key].where}; give one of them")
    found[key] = given


def _postgresql(parts: dict[str, Given]) -> str:
    text = {name: coerce(_TEXT, given) for name, given in parts.items() if name != "port"}
    port = f":{coerce(_PORT, parts['port'])}" if "port" in parts else ""
    user = quote(text.get("user", ""), safe="")
    password = f":{quote(text['password'], safe='')}" if "password" in text else ""
    at = "@" if user or password else ""
    database = quote(text.get("database", ""), safe="")
    host = text.get("host", "localhost")
    if host.startswith("/"):
        # As libpq has it: a host that begins with a slash is the directory of a Unix socket.
        return f"postgresql://{user}{password}{at}/{database}?host={quote(host)}" + port.replace(":", "&port=")
    return f"postgresql://{user}{password}{at}{_host(host)}{port}/{database}"


def _redis(parts: dict[str, Given]) -> str:
    port = coerce(_PORT, parts["port"]) if "port" in parts else 6379
    host = coerce(_TEXT, parts["host"]) if "host" in parts else "localhost"
    return f"redis://{_host(host)}:{port}/0"


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else quote(name, safe="")


def from_environment(env: Mapping[str, str]) -> dict[Key, Given]:
    """What variables set. ``X_FILE`` names a file holding the value of ``X`` and wins over it.

    HAE_ names win over legacy ones. An empty variable counts as not set. Raises SettingsError for unknown
    HAE_ names and for files that cannot be read.
    """
    ranked: list[tuple[tuple[bool, bool, int], Key, Given]] = []
    for name, value in env.items():
        plain = name if name in ENVIRONMENT else name.removesuffix(_FILE)
        key = ENVIRONMENT.get(plain)
        if key is None:
            if name.startswith(PREFIX) and name not in NOT_SETTINGS:
                raise SettingsError(f"{quoted(name)}: unknown setting{suggestion(name, _known_names())}")
            continue
        if not value:
            continue
        given = Given(_secret(name, value) if plain != name else value, name, textual=True)
        # Sorted: a group as one object before its single settings, so that the more precise name wins.
        ranked.extend(
            ((plain != name, plain not in LEGACY, len(key)), each, member) for each, member in _flat(key, given)
        )
    ranked.sort(key=lambda entry: entry[0])
    return {key: given for _, key, given in ranked}


def _known_names() -> list[str]:
    return [*ENVIRONMENT, *(name + _FILE for name in ENVIRONMENT), *NOT_SETTINGS]


def _secret(name: str, value: str) -> str:
    # The path is not shown: whoever mistakes X_FILE for X has put the secret itself there.
    content = _read(Path(value), f"{name}: the file it names").rstrip("\r\n")
    if not content:
        raise SettingsError(f"{name}: the file it names is empty")
    return content
