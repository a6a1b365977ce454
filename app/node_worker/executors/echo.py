"""Returns what it was given: for trying out a node's way through the engine."""

from __future__ import annotations

from app.node_worker.executors.base import Job, Outcome, Progress


class EchoExecutor:
    async def run(self, job: Job, progress: Progress) -> Outcome:
        """Succeed at once with the job's input as result."""
        return Outcome(result=job.input)

    async def close(self) -> None:
        """Nothing to close."""
