"""What runs a job. An executor knows nothing of offers, servers and retries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

Progress = Callable[[int, str], None]
"""``progress(percent, message)``, 0..100: keeps the latest word; the worker sends it on at its own pace."""


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt. ``input``: what the agent submitted, ``{"model", "prompt", "input"}``, any of them
    missing."""

    offer_id: str
    job_id: str
    type: str
    input: dict[str, Any]
    gpus: int
    timeout_s: float

    @property
    def data(self) -> dict[str, Any]:
        """The object under ``input.input``, empty when there is none."""
        data = self.input.get("input")
        return data if isinstance(data, dict) else {}


@dataclass(slots=True)
class Outcome:
    """A run's end. ``error`` None = success with ``result``, which must be encodable as JSON."""

    result: Any = None
    error: str | None = None
    logs: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def failure(cls, error: str) -> Outcome:
        return cls(error=error)


class Executor(Protocol):
    """Runs jobs, several at once. An exception counts as a failure; cancelling ``run`` must stop the work."""

    async def run(self, job: Job, progress: Progress) -> Outcome: ...

    async def close(self) -> None: ...
