"""A match told to people and programs: what was chosen, out of what, and why the rest was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from app.core.money import format_hyper
from app.matchmaker.policy import Weights, get_policy
from app.matchmaker.relax import Outlook, Relaxation, nodes_told
from app.matchmaker.terms import SCALE
from app.matchmaker.types import BUSY, Candidate, Match, Tally, Verdict

CONTENDED: Final = "contended"
GONE: Final = "gone"

_WEIGHTS = tuple(field.name for field in fields(Weights))
_REFUSED: Final = {
    CONTENDED: "another wave held its row",
    GONE: "it is no longer there",
    BUSY: "its slots had been taken meanwhile",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What became of a match.

    ``chosen``: the candidate that got the job, None = nobody, for the reason ``verdict``. ``kept``: how many of the
    candidates are told, from the best down. ``refused``: nodes that were tried in vain and why, one of types.FILTERS,
    CONTENDED or GONE. ``set_aside``: better nodes that were kept for other jobs of the batch. ``apart``: nodes that
    other runs of the same unit of a plan have.
    """

    chosen: Candidate | None
    kept: int
    verdict: Verdict | None = None
    refused: Sequence[tuple[str, str]] = ()
    set_aside: int = 0
    apart: int = 0


def choice_of(match: Match) -> Choice:
    """A match that nothing came after: the best is chosen, all candidates are told."""
    return Choice(match.best, len(match.candidates), match.verdict)


def noted(
    match: Match,
    choice: Choice,
    *,
    tally: Tally | None,
    view_age_s: float | None,
    outlook: Outlook | None = None,
) -> dict[str, Any]:
    """What of the match is to be stored beside its inputs (replay.py), as plain JSON data: all that ``told`` needs and
    that cannot be worked out again. ``top`` is lists of node id, total, score and price in base units.

    ``tally``: the counts, None where none were made. ``view_age_s``: None = unknown. ``outlook``: what would place a
    job that got no node.
    """
    top = [(one.node_id, one.total, one.score, one.price) for one in match.candidates[: choice.kept]]
    note: dict[str, Any] = {"top": top, "view_version": match.view_version}
    if view_age_s is not None:
        note["view_age_s"] = round(view_age_s, 3)
    if tally is not None:
        note |= {"feasible": tally.feasible, "rejects": tally.rejects, "counted_at_version": tally.view_version}
    if choice.chosen is not None:
        note["chosen"] = choice.chosen.node_id
    if choice.refused:
        note["refused"] = choice.refused
    if choice.set_aside:
        note["set_aside"] = choice.set_aside
    if choice.apart:
        note["apart"] = choice.apart
    if choice.verdict is not None:
        note["verdict"] = choice.verdict.value
    if outlook is not None:
        note |= {"busy": outlook.busy, "offline": outlook.offline}
        note["relaxations"] = [told_relaxation(change) for change in outlook.relaxations]
    return note


def told(note: Mapping[str, Any], top: list[dict[str, Any]], policy: str, weights: Weights) -> dict[str, Any]:
    """The match as plain JSON data for people and programs; docs/explanations.md tells of each field.

    ``top``: the candidates of the note, as told_candidate tells them. ``weights``: the network's; told are those that
    count under the policy.
    """
    count = get_policy(policy).weights_with(weights)
    chosen = note.get("chosen")
    found: dict[str, Any] = {
        "policy": policy,
        "weights": {name: getattr(count, name) for name in _WEIGHTS},
        "scale": SCALE,
        "view_version": note["view_version"],
        "view_age_s": note.get("view_age_s"),
        "feasible": note.get("feasible"),
        "rejects": dict(note.get("rejects", {})),
        "counted_at_version": note.get("counted_at_version"),
        "chosen": None if chosen is None else next(one for one in top if one["node_id"] == chosen),
        "top": top,
        "told": sentence(note),
    }
    if "refused" in note:
        found["refused"] = [{"node_id": node_id, "reason": reason} for node_id, reason in note["refused"]]
    return found | {name: note[name] for name in _AS_NOTED if name in note}


_AS_NOTED = ("set_aside", "verdict", "busy", "offline", "relaxations")


def explanation(
    match: Match,
    choice: Choice,
    policy: str,
    weights: Weights,
    *,
    tally: Tally | None,
    view_age_s: float | None,
    outlook: Outlook | None = None,
) -> dict[str, Any]:
    """A match that is not stored, told at once; the arguments are those of ``noted`` and ``told``."""
    note = noted(match, choice, tally=tally, view_age_s=view_age_s, outlook=outlook)
    return told(note, [told_candidate(one) for one in match.candidates[: choice.kept]], policy, weights)


def told_candidate(candidate: Candidate) -> dict[str, Any]:
    """A candidate as plain data, its price as a decimal string of HYPER per GPU-hour."""
    return {**candidate.told(), "price": format_hyper(candidate.price)}


def told_relaxation(change: Relaxation) -> dict[str, Any]:
    """A relaxation as plain data."""
    return {
        "requirement": change.requirement,
        "from": change.before,
        "to": change.after,
        "nodes": change.nodes,
        "text": change.text,
    }


def sentence(note: Mapping[str, Any]) -> str:
    """The outcome in a sentence or two, for people and language models."""
    said = _chosen(note) if "chosen" in note else _waits(note)
    if aside := note.get("set_aside"):
        said += f" {nodes_told(aside)} with a higher total went to other jobs of its batch."
    if apart := note.get("apart"):
        said += f" {nodes_told(apart)} with other runs of the same unit of its plan counted as excluded."
    if refused := note.get("refused"):
        why = (f"{node_id}: {_REFUSED.get(why, f'its row no longer met {why}')}" for node_id, why in refused[:3])
        said += f" Tried before in vain: {'; '.join(why)}{'; …' if len(refused) > 3 else '.'}"
    return said


def _chosen(note: Mapping[str, Any]) -> str:
    chosen, feasible = note["chosen"], note.get("feasible")
    place = [row[0] for row in note["top"]].index(chosen) + 1
    rank = "the best" if place == 1 else f"number {place}"
    if feasible is None:
        return f"{chosen} was chosen, {rank} by the policy."
    return f"{chosen} was chosen, {rank} by the policy of {nodes_told(feasible)} that could take the job."


def _waits(note: Mapping[str, Any]) -> str:
    verdict = note.get("verdict", Verdict.BUSY)
    busy, offline = note.get("busy", 0), note.get("offline", 0)
    if verdict == Verdict.OFFLINE:
        fit = f"{nodes_told(offline)} would do" if offline else "There are nodes that would do"
        return f"{fit}, but none of them is online: the job waits for one to come back."
    if verdict == Verdict.DECLINED:
        why = "have another run of its unit, or " if note.get("apart") else ""
        return f"The only nodes that would do {why}declined or failed this job before: it waits for another."
    if verdict == Verdict.NEVER_FITS:
        return "No node of the network would do, free or not: the job is looked at rarely, until its wait is over."
    if verdict == Verdict.QUOTA:
        return "The jobs of its API key hold as many slots as they may: it waits until one of them is over."
    fit = f"{nodes_told(busy)} would do" if busy else "There are nodes that would do"
    return f"{fit}, but too few slots are free now: the job waits for its turn."
