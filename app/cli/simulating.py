"""What `hae simulate` and `hae policy compare` share: progress, Ctrl-C, tables and charts."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from app.cli.environment import CommandError
from app.core.errors import HaeError
from app.services.views import matchmaker_from
from app.settings import load
from app.simulate.play import Rules
from app.simulate.results import Outcome

INTERRUPTED = 130
_TELL_EVERY_S = 0.5


class Progress:
    """Tells on stderr how far a run is, and whether Ctrl-C or SIGTERM asked it to end."""

    def __init__(self, jobs: int, label: str = "") -> None:
        self.stop = False
        self._jobs = jobs
        self._label = f"{label}: " if label else ""
        self._began = self._told = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def stopped(self, now_ms: int, seen: int) -> bool:
        """For Run.run: note how far it is."""
        at = time.monotonic()
        if at - self._told >= _TELL_EVERY_S:
            self._told = at
            self._tell(now_ms, seen, seen / (at - self._began))
        return self.stop

    def _tell(self, now_ms: int, seen: int, per_s: float) -> None:
        clock = f"{now_ms // 3_600_000}:{now_ms // 60_000 % 60:02}"
        line = f"{self._label}{seen:,} of {self._jobs:,} jobs, {clock} h of virtual time, {per_s:,.0f} jobs/s"
        # On a terminal the line is written over; elsewhere each is a line of its own.
        print(f"\r\x1b[K{line}" if self._terminal else line, end="" if self._terminal else "\n", file=sys.stderr)
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave no half line behind on a terminal."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def stoppable(progress: Progress) -> Iterator[None]:
    """SIGINT and SIGTERM end the run with the part that is done; a second one ends the process."""

    def told(number: int, frame: object) -> None:
        progress.stop = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    before = {each: signal.signal(each, told) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        progress.clear()


@contextmanager
def asked_rightly() -> Iterator[None]:
    """Turns what was asked wrongly into one line and exit code 2."""
    try:
        yield
    except HaeError as error:
        raise CommandError(error.detail) from error


def rules(config: Path | None) -> Rules:
    """The matchmaker as configured."""
    matchmaker = matchmaker_from(load(config).matchmaker)
    return Rules(matchmaker.weights, matchmaker.min_reputation, matchmaker.top_n)


def chart(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw and write the PNG. Raises CommandError where it cannot be written."""
    from app.simulate.chart import draw

    try:
        draw(outcomes, path)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}") from error


def table(outcomes: Sequence[Outcome], title: str) -> Table:
    """The main figures, a row a policy."""
    shown = Table(title=title, box=SIMPLE_HEAD, padding=0)
    shown.add_column("policy", no_wrap=True)
    for name in (
        "placed\n%",
        "wait s\np50",
        "wait s\np99",
        "price\nratio",
        "answer\nms",
        "load\nGini",
        "Jain",
        "regret",
    ):
        shown.add_column(name, justify="right", no_wrap=True)
    for each in outcomes:
        figures = each.figures
        shown.add_row(
            each.policy,
            f"{figures['placed_pct']:.2f}",
            f"{figures['wait_s_p50']:.3f}",
            f"{figures['wait_s_p99']:.3f}",
            f"{figures['price_ratio']:.3f}",
            f"{figures['response_ms']:.0f}",
            f"{figures['load_gini']:.4f}",
            f"{figures['fairness_jain']:.4f}",
            f"{figures['regret']:.4f}",
        )
    return shown
