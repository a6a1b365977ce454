"""What a demo ends with: one object for programs, a table for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from app.core.money import format_hyper
from app.core.states import JobState
from app.demo.judge import Findings, percentile
from app.demo.judge_chain import ChainFindings


@dataclass(frozen=True, slots=True)
class Summary:
    """``findings`` and ``chain``: of the audit. ``repeats``: submissions sent twice; ``doubled``: those of them that
    were answered with a new job.

    ``webhooks_expected``: events that the receivers had asked for. Times in seconds since the command.
    """

    submitted: int
    repeats: int
    doubled: int
    findings: Findings
    chain: ChainFindings
    forks: int
    nodes: int
    webhooks_delivered: int
    webhooks_expected: int
    first_completed_s: float
    seconds: float

    @property
    def sound(self) -> bool:
        return self.findings.clean and self.chain.clean and not self.doubled

    def as_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints; ``unplaced``: jobs for which no node was found in time,
        ``unplaced_feasible`` of them although one could have run them."""
        found = self.findings
        return {
            "submitted": self.submitted,
            "completed": found.states.get(JobState.COMPLETED, 0),
            "failed": found.states.get(JobState.FAILED, 0),
            "unplaced": found.states.get(JobState.EXPIRED, 0),
            "unplaced_feasible": found.unplaced_feasible,
            "violations": found.violations,
            "oversubscribed": found.oversubscribed,
            "lost": found.lost,
            "fallbacks": found.fallbacks,
            "submit_to_assigned_ms": {
                "p50": round(percentile(found.assigned_ms, 0.50), 1),
                "p99": round(percentile(found.assigned_ms, 0.99), 1),
            },
            "webhooks_delivered": self.webhooks_delivered,
            "chain": self._chain_as_json(),
            "seconds": round(self.seconds, 1),
        }

    def _chain_as_json(self) -> dict[str, Any]:
        chain = self.chain
        return {
            "slot": chain.slot,
            "transactions": chain.transactions,
            "events": chain.events,
            "events_missing": chain.events_missing,
            "events_extra": chain.events_extra,
            "quarantined": chain.quarantined,
            "payments": chain.payments,
            "payments_hyper": format_hyper(chain.paid),
            "payments_off_hyper": format_hyper(chain.off),
            "settled": chain.settled,
            "disputed": chain.disputed,
            "unplanned": chain.unplanned,
            "linked_by": dict(sorted(chain.linked.items())),
            "mistaken": chain.mistaken,
            "standing_off": chain.standing_off,
            "forks": self.forks,
            "created_to_matched_ms": {
                "p50": round(percentile(chain.matched_ms, 0.50), 1),
                "p99": round(percentile(chain.matched_ms, 0.99), 1),
            },
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
        table.add_row("unplaced", f"{told['unplaced']}", f"no node was free in time; {found.unplaced_feasible} fit one")
        times = told["submit_to_assigned_ms"]
        table.add_row("submit → assigned", f"{times['p50']:g} ms", f"p50; p99 {times['p99']:g} ms")
        table.add_row("fallbacks", f"{found.fallbacks}", "a node declined, was late or died: the next one took over")
        table.add_row(
            "webhooks", f"{self.webhooks_delivered}", f"of {self.webhooks_expected}, counted where they arrive"
        )
        self._tell_chain(table)
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
            *self._chain_faults(),
        ):
            table.add_row(name, Text(str(count), style="bold red" if count else "bold green"), meaning)
        return table

    def _tell_chain(self, table: Table) -> None:
        chain, told = self.chain, self._chain_as_json()
        times, linked = told["created_to_matched_ms"], told["linked_by"]
        table.add_section()
        table.add_row("on chain", f"{chain.events}", f"events in {chain.transactions} transactions, {chain.slot} slots")
        table.add_row("created → matched", f"{times['p50']:g} ms", f"p50; p99 {times['p99']:g} ms")
        table.add_row(
            "linked", f"{sum(linked.values())}", "by " + ", ".join(f"{how} {count}" for how, count in linked.items())
        )
        table.add_row(
            "settled", f"{chain.settled}", f"{told['payments_hyper']} HYPER moved, as {chain.payments} events tell"
        )
        table.add_row("disputed", f"{chain.disputed}", "paid wrongly on purpose")

    def _chain_faults(self) -> list[tuple[str, int | str, str]]:
        chain = self.chain
        return [
            ("events missing", chain.events_missing, "every finalized event must be in the database, in its slot"),
            ("events too many", chain.events_extra + chain.quarantined, "and nothing else"),
            ("base units off", chain.off, "payments held against events and against the wallets' tokens"),
            ("settled otherwise", chain.unplanned, "than the payment deserves"),
            ("linked wrongly", chain.mistaken, f"to another job, or another way; {self.forks} fork on the way"),
            ("standings off", chain.standing_off, "nodes whose stake is not the chain's"),
        ]
