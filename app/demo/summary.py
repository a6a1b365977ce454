"""What a demo ends with: one object for programs, a table for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from app.core.states import JobState
from app.demo.judge import Findings, percentile


@dataclass(frozen=True, slots=True)
class Summary:
    """``findings``: of the audit. ``repeats``: submissions sent twice; ``doubled``: of those, answered with a new job.

    ``webhooks_expected``: events that the receivers had asked for. Times in seconds since the command.
    """

    submitted: int
    repeats: int
    doubled: int
    findings: Findings
    nodes: int
    webhooks_delivered: int
    webhooks_expected: int
    first_completed_s: float
    seconds: float

    @property
    def sound(self) -> bool:
        return self.findings.clean and not self.doubled

    def as_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints; ``unplaced``: jobs for which no node was found in time."""
        found = self.findings
        return {
            "submitted": self.submitted,
            "completed": found.states.get(JobState.COMPLETED, 0),
            "failed": found.states.get(JobState.FAILED, 0),
            "unplaced": found.states.get(JobState.EXPIRED, 0),
            "violations": found.violations,
            "oversubscribed": found.oversubscribed,
            "lost": found.lost,
            "fallbacks": found.fallbacks,
            "submit_to_assigned_ms": {
                "p50": round(percentile(found.assigned_ms, 0.50), 1),
                "p99": round(percentile(found.assigned_ms, 0.99), 1),
            },
            "webhooks_delivered": self.webhooks_delivered,
            "seconds": round(self.seconds, 1),
        }

    def table(self) -> Table:
        """The same for people, with what is wrong in red."""
        told = self.as_json()
        found = self.findings
        table = Table(title=f"{self.nodes} nodes, {self.submitted} jobs, {told['seconds']} s", show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        table.add_column(style="dim")
        table.add_row(
            "completed", f"{told['completed']}", f"the first {self.first_completed_s:.1f} s after the command"
        )
        table.add_row("failed", f"{told['failed']}", f"after {found.reruns} runs that failed and were made up for")
        table.add_row("unplaced", f"{told['unplaced']}", "no node fitted and was free in time")
        times = told["submit_to_assigned_ms"]
        table.add_row("submit → assigned", f"{times['p50']:g} ms", f"p50; p99 {times['p99']:g} ms")
        table.add_row("fallbacks", f"{found.fallbacks}", "a node declined, was late or died: the next one took over")
        table.add_row(
            "webhooks", f"{self.webhooks_delivered}", f"of {self.webhooks_expected}, counted where they arrive"
        )
        table.add_section()
        for name, count, meaning in (
            ("requirement violations", found.violations, "every offer held against the trace"),
            ("oversubscribed nodes", found.oversubscribed, "every slot replayed from the history"),
            (
                "jobs lost",
                found.lost,
                "every acknowledged job must come to an end",
            ),
            ("duplicate jobs", found.duplicates + self.doubled, f"{self.repeats} submissions were repeated on purpose"),
        ):
            table.add_row(name, Text(str(count), style="bold red" if count else "bold green"), meaning)
        return table
