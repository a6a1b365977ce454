"""The decisions of a job made again, and held against what was told of them and offered upon them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.core.errors import InvalidInput, NotFound
from app.core.money import format_hyper
from app.matchmaker.replay import decide_again, differences, told_again
from app.store import events, jobs
from app.store.db import Database
from app.store.events import StoredDecision


class Outcome(StrEnum):
    """Of one decision made again."""

    IDENTICAL = "identical"
    """The same candidates with the same figures, and the offer is the one decided on."""
    DIFFERING = "differing"
    UNKNOWN = "unknown"
    """Nothing was kept that it could be made again from."""


@dataclass(frozen=True, slots=True)
class Rerun:
    """One attempt's decision. ``differences``: a sentence each. ``notes``: what is worth knowing and no difference."""

    attempt: int
    at: str
    node_id: str
    verdict: str
    outcome: Outcome
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def rerun(db: Database, job_id: str) -> list[Rerun]:
    """Every decision kept of the job, made again with this code; oldest first, empty before the first match.

    Raises NotFound.
    """
    async with db.unit() as uow:
        if await jobs.get(uow, job_id, None) is None:
            raise NotFound(f"there is no job {job_id[:60]} in this database", code="job_not_found")
        kept = await events.decisions(uow, job_id)
    return [_made_again(one) for one in kept]


def retold(one: StoredDecision) -> dict[str, Any]:
    """The decision's explanation in full. Old ones were stored so; later ones as what it takes to tell it."""
    if "told" in one.explanation:
        return one.explanation
    if one.inputs is None:
        return {name: value for name, value in one.explanation.items() if name == "verdict"}
    return told_again(one.explanation, one.inputs)


def _made_again(one: StoredDecision) -> Rerun:
    told = retold(one)
    faults: list[str] = []
    notes: list[str] = []
    outcome = Outcome.UNKNOWN
    if one.inputs is None:
        notes.append("made before decisions kept what they were made from")
    else:
        try:
            again = decide_again(one.inputs)
            faults += differences(again.candidates, told["top"])
            if one.inputs["records"] and again.verdict is not None and again.verdict != told["verdict"]:
                faults.append(f"the job waited for {told['verdict']}, now it would for {again.verdict}")
            outcome = Outcome.IDENTICAL
        except InvalidInput as error:
            notes.append(f"it cannot be made again here: {error.detail}")
        if not one.inputs["records"]:
            notes.append("no node would do, so none is kept: that there was none is not shown")
        wrong, more = _offer(one, told, one.inputs)
        faults, notes = faults + wrong, notes + more
        if faults:
            outcome = Outcome.DIFFERING
    at = one.at.isoformat(timespec="milliseconds")
    return Rerun(one.attempt, at, one.node_id or "", told.get("verdict", ""), outcome, faults, notes)


def _offer(one: StoredDecision, told: dict[str, Any], inputs: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Where the offer's row differs from the decision; what is noted besides."""
    chosen, claimed = told.get("chosen"), inputs["claimed"]
    if chosen is None or claimed is None:
        return (["no node was chosen, and an offer was made"] if one.offer else []), []
    if one.offer is None:
        return [f"{chosen['node_id']} was chosen, and no offer was made"], []
    faults = []
    for name, decided, offered in zip(("node", "price", "slots"), claimed, one.offer, strict=True):
        if decided != offered:
            faults.append(f"the offer's {name} is {offered}, decided was {decided}")
    if one.offer[0] not in {candidate["node_id"] for candidate in told["top"]}:
        faults.append(f"the offer went to {one.offer[0]}, which is none of the candidates")
    seen, true = chosen["price"], format_hyper(claimed[1])
    notes = [f"the node's price was {seen} in the view and {true} in its row, which counts"] if seen != true else []
    return faults, notes
