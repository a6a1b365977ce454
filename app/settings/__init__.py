"""One typed tree of settings: defaults < JSON or TOML file < environment < files that ``*_FILE`` names."""

from app.settings.given import SettingsError
from app.settings.leaves import Row, describe
from app.settings.loading import load
from app.settings.tree import (
    AgentsSettings,
    ChainSettings,
    DatabaseSettings,
    EndpointSettings,
    JobsSettings,
    LogSettings,
    MatchmakerSettings,
    NodesSettings,
    RedisSettings,
    RetentionSettings,
    ServerSettings,
    Settings,
    SolanaSettings,
    StreamsSettings,
    WebhooksSettings,
    WeightSettings,
    WorkerSettings,
)

__all__ = [
    "AgentsSettings",
    "ChainSettings",
    "DatabaseSettings",
    "EndpointSettings",
    "JobsSettings",
    "LogSettings",
    "MatchmakerSettings",
    "NodesSettings",
    "RedisSettings",
    "RetentionSettings",
    "Row",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "SolanaSettings",
    "StreamsSettings",
    "WebhooksSettings",
    "WeightSettings",
    "WorkerSettings",
    "describe",
    "load",
]
