"""What a wave notes of its choices while it makes them: enough to explain each one later, and to make it again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.relax import Outlook, outlook
from app.matchmaker.types import Match, Query, Tally

EXACT_NODES: Final = 4096
"""Up to so many nodes every decision is counted on the very view that it was made on."""

SCANNED_ROWS: Final = 4_000_000
"""Rows that a wave looks at to count larger networks, some 10 ms. Then it tells the counts that it has, or none."""

_LOOKS: Final = 8
"""What an outlook costs, in scans."""

_Asked = tuple[object, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Note:
    """One match, the query that it answers, and the counts told with it, None where they were not made."""

    query: Query
    match: Match
    counted: Tally | None


@dataclass(slots=True)
class Decisions:
    """The choices of one wave. ``of``: the latest match of each job."""

    of: dict[str, Note] = field(default_factory=dict)
    rows_left: int = SCANNED_ROWS
    _counts: dict[_Asked, Tally] = field(default_factory=dict)
    _outlooks: dict[_Asked, tuple[int, Outlook]] = field(default_factory=dict)

    def note(self, matchmaker: Matchmaker, query: Query, match: Match) -> None:
        """Note a match just made, before anything changes the view. A later one for the same job takes its place."""
        self.of[query.job_id] = Note(query, match, self._count(matchmaker, query))

    def outlook(self, matchmaker: Matchmaker, query: Query, held: Collection[str]) -> Outlook | None:
        """What would place the job now; None where the wave has looked at too many rows already.

        ``held``: nodes that other waves hold, so that nobody knows how busy they are.
        """
        view, asked = matchmaker.view, (query.requirements, frozenset(query.excluded))
        kept = self._outlooks.get(asked)
        if kept is not None and (kept[0] == view.version or len(view) > EXACT_NODES):
            return kept[1]
        if not self._afford(matchmaker, _LOOKS):
            return None
        found = outlook(view, query, held)
        self._outlooks[asked] = view.version, found
        return found

    def _count(self, matchmaker: Matchmaker, query: Query) -> Tally | None:
        view, asked = matchmaker.view, (query.requirements, frozenset(query.excluded))
        kept = self._counts.get(asked)
        if kept is not None and (kept.view_version == view.version or len(view) > EXACT_NODES):
            return kept
        if not self._afford(matchmaker, 1):
            return None
        made = self._counts[asked] = matchmaker.tally(query)
        return made

    def _afford(self, matchmaker: Matchmaker, scans: int) -> bool:
        nodes = len(matchmaker.view)
        if nodes <= EXACT_NODES:
            return True
        left, self.rows_left = self.rows_left, self.rows_left - scans * nodes
        return left > 0
