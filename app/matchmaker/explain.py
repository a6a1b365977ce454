"""A match told to people and programs: what was chosen, out of what, and why the rest was not."""

from __future__ import annotations

from collections.abc import Sequence
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
    CONTENDED or GONE. ``set_aside``: better nodes that were kept for other jobs of the batch.
    """

    chosen: Candidate | None
    kept: int
    verdict: Verdict | None = None
    refused: Sequence[tuple[str, str]] = ()
    set_aside: int = 0


def choice_of(match: Match) -> Choice:
    """A match that nothing came after: the best is chosen, all candidates are told."""
    return Choice(match.best, len(match.candidates), match.verdict)


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
    """The match as plain JSON data, to be stored with it; docs/explanations.md tells of each field.

    ``weights``: the network's; told are those that count under the policy. ``tally``: the counts, None where none were
    made. ``view_age_s``: None = unknown. ``outlook``: what would place a job that got no node.
    """
    top = [told_candidate(candidate) for candidate in match.candidates[: choice.kept]]
    chosen = choice.chosen
    count = get_policy(policy).weights_with(weights)
    told: dict[str, Any] = {
        "policy": policy,
        "weights": {name: getattr(count, name) for name in _WEIGHTS},
        "scale": SCALE,
        "view_version": match.view_version,
        "view_age_s": None if view_age_s is None else round(view_age_s, 3),
        "feasible": None if tally is None else tally.feasible,
        "rejects": {} if tally is None else dict(tally.rejects),
        "counted_at_version": None if tally is None else tally.view_version,
        "chosen": None if chosen is None else next(one for one in top if one["node_id"] == chosen.node_id),
        "top": top,
        "told": sentence(match, choice, tally, outlook),
    }
    if choice.refused:
        told["refused"] = [{"node_id": node_id, "reason": reason} for node_id, reason in choice.refused]
    if choice.set_aside:
        told["set_aside"] = choice.set_aside
    if choice.verdict is not None:
        told["verdict"] = choice.verdict.value
    if outlook is not None:
        told["busy"], told["offline"] = outlook.busy, outlook.offline
        told["relaxations"] = [told_relaxation(change) for change in outlook.relaxations]
    return told


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


def sentence(match: Match, choice: Choice, tally: Tally | None, outlook: Outlook | None) -> str:
    """The outcome in a sentence or two, for people and language models."""
    if choice.chosen is not None:
        said = _chosen(match, choice.chosen, tally)
    else:
        said = _waits(choice.verdict or Verdict.BUSY, outlook or Outlook())
    if choice.set_aside:
        said += f" {nodes_told(choice.set_aside)} with a higher total went to other jobs of its batch."
    if choice.refused:
        why = (f"{node_id}: {_REFUSED.get(why, f'its row no longer met {why}')}" for node_id, why in choice.refused[:3])
        said += f" Tried before in vain: {'; '.join(why)}{'; …' if len(choice.refused) > 3 else '.'}"
    return said


def _chosen(match: Match, chosen: Candidate, tally: Tally | None) -> str:
    ids = [candidate.node_id for candidate in match.candidates]
    place = ids.index(chosen.node_id) + 1 if chosen.node_id in ids else 0
    rank = "the best" if place == 1 else f"number {place}"
    if tally is None:
        return f"{chosen.node_id} was chosen, {rank} by the policy."
    return f"{chosen.node_id} was chosen, {rank} by the policy of {nodes_told(tally.feasible)} that could take the job."


def _waits(verdict: Verdict, outlook: Outlook) -> str:
    if verdict is Verdict.OFFLINE:
        fit = f"{nodes_told(outlook.offline)} would do" if outlook.offline else "There are nodes that would do"
        return f"{fit}, but none of them is online: the job waits for one to come back."
    if verdict is Verdict.DECLINED:
        return "The only nodes that would do declined or failed this job before: it waits for another."
    if verdict is Verdict.NEVER_FITS:
        return "No node of the network would do, free or not: the job is looked at rarely, until its wait is over."
    if verdict is Verdict.QUOTA:
        return "The jobs of its API key hold as many slots as they may: it waits until one of them is over."
    fit = f"{nodes_told(outlook.busy)} would do" if outlook.busy else "There are nodes that would do"
    return f"{fit}, but too few slots are free now: the job waits for its turn."
