"""What tools work with, handed in by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.core.states import JobState
from app.services.desk import Desk
from app.services.network import NetworkFigures
from app.services.quotas import Quotas, quota_rules
from app.services.views import ViewKeeper
from app.settings import JobsSettings
from app.store.db import Database


@dataclass(slots=True)
class ToolContext:
    """``job_desk``: waits for ``(state, version)`` of jobs. ``defaults``: what a job gets where its agent is silent.

    ``quotas``: of API keys, by the defaults and their own rows.
    """

    db: Database
    views: ViewKeeper
    figures: NetworkFigures
    job_desk: Desk[tuple[JobState, int]]
    defaults: JobsSettings
    default_policy: str
    quotas: Quotas = field(init=False)

    def __post_init__(self) -> None:
        self.quotas = Quotas(quota_rules(self.defaults))
