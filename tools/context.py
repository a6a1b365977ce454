"""What tools work with, handed in by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from app.core.states import JobState
from app.services.desk import Desk
from app.services.network import NetworkFigures
from app.services.quotas import Quotas, quota_rules
from app.services.views import ViewKeeper
from app.settings import JobsSettings
from app.store.db import Database


class Defaults(Protocol):
    """What a job gets where its agent is silent: all that reading a request needs."""

    @property
    def defaults(self) -> JobsSettings: ...

    @property
    def default_policy(self) -> str: ...


@dataclass(frozen=True, slots=True)
class NetworkDefaults:
    """The Defaults of some settings, for those who read requests and call no tools."""

    defaults: JobsSettings
    default_policy: str


@dataclass(slots=True)
class ToolContext:
    """``job_desk``: waits for ``(state, version)`` of jobs, ``plan_desk`` for ``(version, over)`` of plans.

    ``defaults``: what a job gets where its agent is silent. ``quotas``: of API keys, by the defaults and their own
    rows.
    """

    db: Database
    views: ViewKeeper
    figures: NetworkFigures
    job_desk: Desk[tuple[JobState, int]]
    defaults: JobsSettings
    default_policy: str
    plan_desk: Desk[tuple[int, bool]]
    quotas: Quotas = field(init=False)

    def __post_init__(self) -> None:
        self.quotas = Quotas(quota_rules(self.defaults))
