"""The placing of jobs by the engine's own match, order of right and batch assignment."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from time import perf_counter_ns

from app.matchmaker import assign
from app.matchmaker.fairness import Line
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.types import Query


def place(
    matchmaker: Matchmaker, queries: Sequence[Query], line: Line | None, match_ns: array[int]
) -> list[str | None]:
    """The node of each job, None where none is free, its slots taken in the view; in the order of ``queries``.

    ``line``: their order of right; None for a single one, which is then matched without the detour. ``match_ns`` grows
    by the wall-clock nanoseconds of each match, of those in a batch by their mean.
    """
    began = perf_counter_ns()
    if line is None:
        (query,) = queries
        best = matchmaker.match(query).best
        match_ns.append(perf_counter_ns() - began)
        if best is None:
            return [None]
        matchmaker.view.adjust(best.node_id, query.requirements.gpus)
        return [best.node_id]
    by_id = {query.job_id: query for query in queries}
    assignment = assign.place(matchmaker, line, by_id, quiet=by_id)
    took = (perf_counter_ns() - began) // len(queries)
    match_ns.extend([took] * len(queries))
    found = {one.query.job_id: one.match.best.node_id for one in assignment.choices if one.match.best is not None}
    return [found.get(query.job_id) for query in queries]
