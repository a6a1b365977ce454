"""A decision made again from what was kept of it.

A node's place in a ranking depends on the job, on the node's own record and on the price of the cheapest feasible node,
on no other node: policies rank each node by itself (independence of irrelevant alternatives). So the best of the whole
network are the best of any part of it that holds them and the cheapest node. Those few records, the query, the weights
and the floor are a decision's *inputs*: they show on any machine that the chosen node beats the others kept, with the
figures told. They cannot show that no node was left out: that is what the property tests against the oracle are for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final

from app.core.errors import InvalidInput
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker.explain import told, told_candidate
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.policy import Weights
from app.matchmaker.types import Candidate, Match, Query

FORMAT: Final = 1
"""Of the inputs: raised when their lists change."""

_RECORD = attrgetter(*(field.name for field in fields(NodeRecord)))
_ASKED = attrgetter(*(field.name for field in fields(Requirements)))
_WEIGHTS = attrgetter(*(field.name for field in fields(Weights)))
_STATE = [field.name for field in fields(NodeRecord)].index("state")


def inputs(
    query: Query,
    match: Match,
    matchmaker: Matchmaker,
    *,
    kept: int,
    excluded: Sequence[str] = (),
    claimed: tuple[str, int, int] | None = None,
    shown: NodeRecord | None = None,
) -> dict[str, Any]:
    """What is stored with a decision, as plain JSON data; lists, as there is one for every match.

    ``kept``: how many candidates, from the best down; the cheapest node is kept besides. ``excluded``: as the job has
    them. ``claimed``: the node that got the job, its price in base units per GPU-hour, the slots; None = nobody.
    ``shown``: for a job that waits, a node that shows why.
    """
    candidates, cheapest = match.candidates[:kept], match.cheapest
    if cheapest is not None and all(cheapest.node_id != candidate.node_id for candidate in candidates):
        candidates.append(cheapest)
    return {
        "format": FORMAT,
        "query": [query.job_id, query.policy, excluded, *_ASKED(query.requirements)],
        "weights": _WEIGHTS(matchmaker.weights),
        "floor": matchmaker.min_reputation,
        "kept": kept,
        "claimed": claimed,
        "records": [candidate.row for candidate in candidates] + ([_RECORD(shown)] if shown else []),
    }


def decide_again(kept: Mapping[str, Any]) -> Match:
    """The match that the code at hand makes of stored inputs, with as many candidates as were kept.

    Raises InvalidInput for inputs of another format, and for a policy that is not installed here.
    """
    if kept.get("format") != FORMAT:
        raise InvalidInput(f"the inputs have format {kept.get('format')}, this version knows {FORMAT}", field="format")
    job_id, policy, excluded, models, *asked = kept["query"]
    matchmaker = Matchmaker(Weights(*kept["weights"]), kept["floor"])
    matchmaker.view.upsert(_record(row) for row in kept["records"])
    query = Query(job_id, Requirements(tuple(models), *asked), tuple(excluded), policy)
    return matchmaker.match(query, top_n=max(1, kept["kept"]))


def told_again(note: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """The full explanation of a stored match, its terms worked out from the records in its inputs.

    Raises InvalidInput as decide_again.
    """
    if kept.get("format") != FORMAT:
        raise InvalidInput(f"the inputs have format {kept.get('format')}, this version knows {FORMAT}", field="format")
    records = _Kept([_record(row) for row in kept["records"][: len(note["top"]) + 1]])
    cheapest = min((record.price for record in records.rows), default=0)
    top = [
        told_candidate(Candidate(node_id, total, score, price, cheapest, records, at))
        for at, (node_id, total, score, price) in enumerate(note["top"])
    ]
    return told(note, top, kept["query"][1], Weights(*kept["weights"]))


@dataclass(frozen=True, slots=True)
class _Kept:
    rows: list[NodeRecord]

    def record(self, at: int, node_id: str) -> NodeRecord:
        return self.rows[at]

    def row(self, at: int, node_id: str) -> tuple[Any, ...]:
        fields_: tuple[Any, ...] = _RECORD(self.rows[at])
        return fields_


def _record(row: Sequence[Any]) -> NodeRecord:
    values = list(row)
    values[_STATE] = NodeState(values[_STATE])
    return NodeRecord(*values)


def differences(again: Sequence[Candidate], told: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the candidates found again differ from the ``top`` of a stored explanation, a sentence each."""
    found = []
    for rank, (now, then) in enumerate(zip(again, told, strict=False), start=1):
        if now.node_id != then["node_id"]:
            found.append(f"candidate {rank} was {then['node_id']}, is {now.node_id}")
            continue
        figures = {"total": now.total, "score": now.score, **now.terms}
        before = {"total": then["total"], "score": then["score"], **then["terms"]}
        found += [
            f"candidate {rank}, {now.node_id}: {name} was {before.get(name)}, is {figures.get(name)}"
            for name in dict.fromkeys((*before, *figures))
            if before.get(name) != figures.get(name)
        ]
    if len(again) != len(told):
        found.append(f"there were {len(told)} candidates, there are {len(again)}")
    return found
