"""Every setting of the tree, by its path and by its names in the environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect as kinds

from app.settings.tree import Settings

Path = tuple[str, ...]

PREFIX: Final = "HAE_"
NOT_SETTINGS: Final = frozenset({"HAE_CONFIG", "HAE_DATA_DIR", "HAE_API_KEY", "HAE_API_URL", "HAE_SUPERVISED"})
"""Variables with the prefix that others read: the command line, the embedded servers and clients."""

LEGACY: Final[dict[str, Path]] = {
    "DATABASE_URL": ("database", "url"),
    "REDIS_URL": ("redis", "url"),
    "PORT": ("server", "port"),
    "API_KEY": ("server", "api_key"),
    "DISCORD_WEBHOOK_URL": ("webhooks", "discord"),
    "SLACK_WEBHOOK_URL": ("webhooks", "slack"),
    "MIN_REPUTATION": ("matchmaker", "min_reputation"),
    "MAX_RETRIES": ("jobs", "max_retries"),
    "LOG_LEVEL": ("log", "level"),
    "SOLANA_RPC_URL": ("solana", "rpc_url"),
    "SOLANA_WS_URL": ("solana", "ws_url"),
    "NODE_REGISTRY_PROGRAM_ID": ("solana", "node_registry_program_id"),
    "JOB_RECEIPT_PROGRAM_ID": ("solana", "job_receipt_program_id"),
    "PAYMENT_SPLITTER_PROGRAM_ID": ("solana", "payment_splitter_program_id"),
}
"""The names of the engine this one replaces."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting, or (``branch``) a group of them inside a section that can be set as one object."""

    path: Path
    type: kinds.Type
    default: Any
    meaning: str

    @property
    def env(self) -> str:
        return PREFIX + "_".join(self.path).upper()

    @property
    def branch(self) -> kinds.StructType | None:
        inner = self.type.type if isinstance(self.type, kinds.Metadata) else self.type
        return inner if isinstance(inner, kinds.StructType) else None


class Row(NamedTuple):
    """One setting in words. ``env``: its names in the environment, a legacy one last; ``default``: JSON."""

    path: str
    env: str
    default: str
    meaning: str


def _walk(struct: kinds.StructType, prefix: Path) -> Iterator[Leaf]:
    for field in struct.fields:
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
        schema = field.type.extra_json_schema if isinstance(field.type, kinds.Metadata) else None
        value = default() if callable(default) else default
        leaf = Leaf((*prefix, field.name), field.type, value, (schema or {}).get("description", ""))
        if len(leaf.path) > 1:
            yield leaf
        if leaf.branch is not None:
            yield from _walk(leaf.branch, leaf.path)


def _root() -> kinds.StructType:
    info = kinds.type_info(Settings)
    assert isinstance(info, kinds.StructType)
    return info


ROOT: Final = _root()
LEAVES: Final[dict[Path, Leaf]] = {leaf.path: leaf for leaf in _walk(ROOT, ())}
ENVIRONMENT: Final[dict[str, Path]] = {leaf.env: leaf.path for leaf in LEAVES.values()} | LEGACY


def names_below(prefix: Path) -> list[str]:
    """The keys directly below a section, or the sections for ``()``."""
    depth = len(prefix)
    return list(dict.fromkeys(path[depth] for path in LEAVES if len(path) > depth and path[:depth] == prefix))


def describe() -> list[Row]:
    """Every setting, in the order of the tree."""
    rows = []
    for leaf in LEAVES.values():
        names = [leaf.env, *(name for name, path in LEGACY.items() if path == leaf.path)]
        default = json.dumps(msgspec.to_builtins(leaf.default))
        rows.append(Row(".".join(leaf.path), ", ".join(names), default, leaf.meaning))
    return rows
