"""A batch of jobs on one view: greedy while there is enough for all, by a minimum-cost flow when there is not.

Greedy takes the jobs in the order of right (fairness.Line) and gives each its best node, exactly as it would be matched
alone after the others. That is all there is to it while nobody goes away empty and nobody has to settle for much less.

Otherwise the batch is placed anew, over the best candidates of each job on the view as it was (BREADTH, and as many
more as there are jobs alike in the batch):

1. Who is placed: the lexicographically best set in the order of right, so a more urgent job is never left out for a
   less urgent one, whatever their totals; of one-slot jobs it is a largest set, too (see seats.py).
2. Where: of all ways to place exactly that set, one with the highest sum of totals, each total taken on the view as it
   was before the batch.

Both hold exactly for jobs of one slot, within their candidates. Jobs of several slots are placed one by one, each on
the best of its candidates that has room or on which one-slot jobs can make room. Whoever is left goes on greedily over
all nodes. If greedy alone had placed a more urgent job that this leaves out, greedy's outcome stands.

Each choice is then made by an ordinary match, in turn, with the better nodes that are kept for others excluded: it can
be explained and made again by itself. Nothing depends on clocks, threads, or the order of hash tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

from app.core.requirements import Requirements
from app.matchmaker.fairness import Line, Waiter
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.seats import Seats
from app.matchmaker.types import Match, Query, Verdict

BREADTH: Final = 32
"""Candidates of each job that an assignment looks at."""

WORTHWHILE: Final = 50
"""A batch that fell short of its first choices by less than 1/50 of their totals is left as greedy placed it."""

_PASSES: Final = 2
"""How often those are looked for whose best node is kept for them; the others get theirs by exclusions."""

Noted = Callable[[Query, Match], None]


@dataclass(frozen=True, slots=True)
class Choice:
    """What became of one job: ``match.best`` is its node, whose slots are taken in the view, None if there was none."""

    waiter: Waiter
    query: Query
    match: Match


@dataclass(slots=True)
class Assignment:
    """``choices`` in the order of right. ``skipped``: quiet jobs that were not tried, as their like had no node.

    ``over_quota``: jobs that were passed over as their key may hold no more slots.
    """

    choices: list[Choice]
    skipped: list[Waiter]
    over_quota: list[Waiter]

    @property
    def placed(self) -> list[Choice]:
        return [choice for choice in self.choices if choice.match.best is not None]


def place(
    matchmaker: Matchmaker,
    line: Line,
    queries: Mapping[str, Query],
    *,
    noted: Noted = lambda query, match: None,
    quiet: Container[str] = (),
) -> Assignment:
    """Choose nodes for the jobs of ``line``, whose queries are given by job id, and take their slots in the view.

    ``noted`` is told of every match before its slots are taken; of several for one job the last counts. ``quiet``: jobs
    of which nobody wants to know why there was no node: ``noted`` may not hear of them. Raises InvalidInput for an
    unknown policy; slots taken by then are given back.
    """
    batch = _Batch(matchmaker, line, queries, noted, quiet)
    try:
        batch.greedy()
        if batch.scarce():
            batch.rearrange()
    except BaseException:
        batch.give_back()
        raise
    return Assignment(batch.choices, batch.skipped, line.over_quota + batch.over_quota)


class _Batch:
    def __init__(
        self,
        matchmaker: Matchmaker,
        line: Line,
        queries: Mapping[str, Query],
        noted: Noted,
        quiet: Container[str],
    ) -> None:
        self.matchmaker = matchmaker
        self.line = line
        self.queries = queries
        self.noted = noted
        self.quiet = quiet
        self.choices: list[Choice] = []
        self.skipped: list[Waiter] = []
        self.over_quota: list[Waiter] = []
        self._visited: list[Waiter] = []
        self._hopeless: dict[Requirements, Match] = {}

    def greedy(self) -> None:
        """Every job in turn gets its best node."""
        for waiter in self.line:
            self._visited.append(waiter)
            self._try(waiter)

    def scarce(self) -> bool:
        """Whether another assignment may be worth its price: somebody went away empty, or settled for much less."""
        placed = [choice for choice in self.choices if choice.match.best is not None]
        if not placed:
            return False
        if self.skipped or any(choice.match.verdict is Verdict.BUSY for choice in self.choices):
            return True
        # The first of its like met the fullest network: what it got is about the best that any of them could get.
        first: dict[object, int] = {}
        wanted = got = 0
        for choice in placed:
            assert choice.match.best is not None
            got += choice.match.best.total
            wanted += first.setdefault(_kind(choice.query), choice.match.best.total)
        return (wanted - got) * WORTHWHILE > wanted

    def rearrange(self) -> None:
        """Place the batch anew by seats. Back to what greedy found if that would leave out a more urgent job, or could
        not help: jobs alike are worth the same, so nothing is won while no others want their nodes."""
        before, skipped = self.choices, self.skipped
        self.give_back()
        groups, options = self._groups()
        if _meet(options):
            self._by_seats(before, groups, options)
            if self._outcome(self.choices) >= self._outcome(before):
                return
            self.give_back()
            for choice in before:
                self._note(choice)
        self.skipped = skipped
        for choice in before:
            self._take(choice)

    def give_back(self) -> None:
        """Return every slot that the batch has taken, and forget its choices."""
        for choice in self.choices:
            if choice.match.best is not None:
                self.matchmaker.view.adjust(choice.match.best.node_id, -choice.waiter.slots)
                self.line.revoke(choice.waiter)
        self.choices, self.skipped, self.over_quota = [], [], []
        self._hopeless.clear()

    def _outcome(self, choices: list[Choice]) -> list[bool]:
        """Who is placed, in the order of right: greater is lexicographically better."""
        placed = {choice.waiter.job_id for choice in choices if choice.match.best is not None}
        return [waiter.job_id in placed for waiter in self._visited]

    def _try(self, waiter: Waiter) -> None:
        query = self.queries[waiter.job_id]
        match = None if query.excluded else self._hopeless.get(query.requirements)
        if match is not None and waiter.job_id in self.quiet:
            self.skipped.append(waiter)
            return
        if match is None:
            match = self.matchmaker.match(query)
            if match.best is None and not query.excluded:
                # Slots only become fewer, so its like can be told the same.
                self._hopeless[query.requirements] = match
        self._chosen(Choice(waiter, query, match))

    def _note(self, choice: Choice) -> None:
        if choice.match.best is not None or choice.waiter.job_id not in self.quiet:
            self.noted(choice.query, choice.match)

    def _take(self, choice: Choice) -> None:
        best = choice.match.best
        if best is not None:
            self.matchmaker.view.adjust(best.node_id, choice.waiter.slots)
            self.line.grant(choice.waiter)
        self.choices.append(choice)

    def _by_seats(self, before: list[Choice], groups: dict[str, int], options: list[dict[str, int]]) -> None:
        for choice in before:
            if choice.match.best is not None:
                # Within greedy's own choices all whom it placed have a seat, so none of them need lose it.
                nodes = options[groups[choice.waiter.job_id]]
                nodes.setdefault(choice.match.best.node_id, min(choice.match.best.total, *nodes.values()))
        free: dict[str, int] = {}
        for nodes in options:
            for node_id in nodes:
                if node_id not in free:
                    record = self.matchmaker.view.get(node_id)
                    free[node_id] = 0 if record is None else record.free
        seats = Seats(free, options)
        seated = []
        for waiter in self._visited:
            if self._has_room(waiter) and seats.seat(groups[waiter.job_id], waiter.slots):
                self.line.grant(waiter)
                seated.append(waiter)
        for waiter in seated:
            self.line.revoke(waiter)
        kept = seats.settled()
        # Those first whose best node is kept for them: they need no exclusions, and may free others of theirs.
        waiting = seated
        for _ in range(_PASSES):
            waiting = [one for one in waiting if not self._sit(one, kept[groups[one.job_id]])]
        for waiter in waiting:
            group = groups[waiter.job_id]
            self._sit_past(waiter, kept[group], len(options[group]))
        sitting = {choice.waiter.job_id for choice in self.choices}
        for waiter in self._visited:
            if waiter.job_id in sitting:
                continue
            if self._has_room(waiter):
                self._try(waiter)
            else:
                self.over_quota.append(waiter)
        turn = {waiter.job_id: place for place, waiter in enumerate(self._visited)}
        self.choices.sort(key=lambda choice: turn[choice.waiter.job_id])

    def _has_room(self, waiter: Waiter) -> bool:
        return self.line.room(waiter.key_id) >= waiter.slots

    def _groups(self) -> tuple[dict[str, int], list[dict[str, int]]]:
        """The number of each job's group, and each group's candidates with their totals, best first."""
        kinds = [_kind(self.queries[waiter.job_id]) for waiter in self._visited]
        counts = Counter(kinds)
        numbers: dict[object, int] = {}
        groups: dict[str, int] = {}
        options: list[dict[str, int]] = []
        for waiter, kind in zip(self._visited, kinds, strict=True):
            if kind not in numbers:
                numbers[kind] = len(numbers)
                # Its like may need the same nodes: each needs some of its own.
                found = self.matchmaker.match(self.queries[waiter.job_id], top_n=BREADTH + counts[kind] - 1)
                options.append({candidate.node_id: candidate.total for candidate in found.candidates})
            groups[waiter.job_id] = numbers[kind]
        return groups, options

    def _sit(self, waiter: Waiter, kept: dict[str, int]) -> bool:
        """Give the job its best node; False if that is not one of those kept for its group."""
        query = self.queries[waiter.job_id]
        match = self.matchmaker.match(query)
        if match.best is None or not kept.get(match.best.node_id):
            return False
        kept[match.best.node_id] -= 1
        self._chosen(Choice(waiter, query, match))
        return True

    def _sit_past(self, waiter: Waiter, kept: dict[str, int], breadth: int) -> None:
        """Give the job the best of the nodes kept for its group, by a match without those that are kept for others."""
        query = self.queries[waiter.job_id]
        match = self.matchmaker.match(query)
        while match.best is not None and not kept.get(match.best.node_id):
            wide = self.matchmaker.match(query, top_n=breadth + BREADTH)
            better = takewhile(lambda node_id: not kept.get(node_id), (one.node_id for one in wide.candidates))
            # Without them another may be the cheapest, which changes what the rest are worth: hence the loop.
            query = replace(query, excluded=frozenset(query.excluded).union(better))
            match = self.matchmaker.match(query)
        if match.best is not None:
            kept[match.best.node_id] -= 1
            self._chosen(Choice(waiter, query, match))

    def _chosen(self, choice: Choice) -> None:
        self._note(choice)
        self._take(choice)


def _kind(query: Query) -> object:
    return query.requirements, query.policy, frozenset(query.excluded)


def _meet(options: Sequence[Mapping[str, int]]) -> bool:
    """Whether two groups want one node."""
    wanted: set[str] = set()
    for nodes in options:
        if not wanted.isdisjoint(nodes):
            return True
        wanted.update(nodes)
    return False
