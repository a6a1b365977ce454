"""Progress on standard error: a live display on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from app.core.states import JobState

_PLAIN_EVERY_S = 5.0
_STATES = {
    JobState.PENDING: "yellow",
    JobState.OFFERED: "cyan",
    JobState.ASSIGNED: "blue",
    JobState.RUNNING: "magenta",
    JobState.COMPLETED: "green",
    JobState.FAILED: "red",
    JobState.EXPIRED: "dim",
}


@dataclass(slots=True)
class Status:
    """What is shown; kept up to date by the demo. ``events``: what happened that one should know of, newest last.

    ``on_chain``: events of the network's programs in ``slot``, ``indexed`` of them by the engine. ``settled`` and
    ``disputed``: jobs.
    """

    jobs_total: int = 0
    nodes_total: int = 0
    nodes_online: int = 0
    submitted: int = 0
    states: dict[str, int] = field(default_factory=dict)
    rate: float = 0.0
    fallbacks: int = 0
    webhooks: dict[str, int] = field(default_factory=dict)
    slot: int = 0
    on_chain: int = 0
    indexed: int = 0
    settled: int = 0
    disputed: int = 0
    phase: str = "starting"
    events: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        return sum(self.states.get(state, 0) for state in ("completed", "failed", "cancelled", "expired"))


class Screen(AbstractContextManager["Screen"]):
    """Shows a Status. ``began``: Unix seconds. ``note`` tells of something once; ``show`` draws anew."""

    def __init__(self, console: Console, status: Status, began: float) -> None:
        self.status = status
        self._console = console
        self._began = time.monotonic() - (time.time() - began)
        self._said = 0.0
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the display away; notes go on as plain lines."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._began

    def note(self, text: str) -> None:
        """Tell of something that happened."""
        self.status.events.append(f"{self.seconds:5.1f} s  {text}")
        if self._live is None:
            self._console.print(self.status.events[-1], highlight=False)
        self.show()

    def show(self) -> None:
        """Draw the status as it is now."""
        if self._live is not None:
            self._live.update(self._picture())
        elif self.seconds - self._said >= _PLAIN_EVERY_S and self.status.submitted:
            self._said = self.seconds
            self._console.print(f"{self.seconds:5.1f} s  {self._line()}", highlight=False)

    def _line(self) -> str:
        status = self.status
        counts = " ".join(f"{state} {status.states[state]}" for state in _STATES if status.states.get(state))
        return (
            f"submitted {status.submitted}/{status.jobs_total}  {counts}  {status.rate:.0f} jobs/s  "
            f"nodes {status.nodes_online}/{status.nodes_total}  fallbacks {status.fallbacks}  "
            f"webhooks {sum(status.webhooks.values())}  slot {status.slot}  events {status.indexed}/{status.on_chain}  "
            f"settled {status.settled}  disputed {status.disputed}"
        )

    def _picture(self) -> Group:
        status = self.status
        total = max(status.jobs_total, 1)
        head = Text.assemble((f"{self.seconds:5.1f} s  ", "bold"), status.phase)
        jobs = Table.grid(padding=(0, 1))
        jobs.add_column(width=10)
        jobs.add_column(width=6, justify="right")
        jobs.add_column(width=50)
        jobs.add_row("submitted", str(status.submitted), ProgressBar(total, status.submitted, width=50))
        for state, colour in _STATES.items():
            count = status.states.get(state, 0)
            bar = ProgressBar(total, count, width=50, complete_style=colour, finished_style=colour)
            jobs.add_row(Text(state.value, style=colour), str(count), bar)
        hooks = "  ".join(f"{name} {count}" for name, count in status.webhooks.items())
        facts = Text.assemble(
            ("nodes online ", "dim"), f"{status.nodes_online}/{status.nodes_total}",
            ("   jobs ended ", "dim"), f"{status.rate:.0f}/s",
            ("   fallbacks ", "dim"), str(status.fallbacks),
            ("   webhooks ", "dim"), hooks or "0",
        )  # fmt: skip
        chain = Text.assemble(
            ("chain: slot ", "dim"), str(status.slot),
            ("   events indexed ", "dim"), f"{status.indexed}/{status.on_chain}",
            ("   jobs settled ", "dim"), (str(status.settled), "green"),
            ("   disputed ", "dim"), (str(status.disputed), "red" if status.disputed else ""),
        )  # fmt: skip
        notes = Text("\n".join(status.events[-6:]), style="dim")
        return Group(head, jobs, facts, chain, notes)
