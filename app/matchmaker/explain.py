"""A match told to people and programs: what was chosen, out of what, and why the rest was not."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from app.core.money import format_hyper
from app.matchmaker.policy import Policy, Weights
from app.matchmaker.terms import SCALE
from app.matchmaker.types import Candidate, Match

_WEIGHTS = tuple(field.name for field in fields(Weights))


def explanation(match: Match, policy: Policy | str, weights: Weights) -> dict[str, Any]:
    """The match as plain JSON data, to be stored with it.

    ``policy``, ``weights``, ``scale`` (what 1.0 is in totals, scores and terms), ``view_version``,
    ``feasible``, ``rejects`` (first failing filter → nodes), ``chosen`` (the first of ``top``, or None) and
    ``top``, each node with node_id, total, score, price (decimal HYPER per GPU-hour) and terms. Without a
    candidate also ``verdict``.
    """
    top = [_candidate(candidate) for candidate in match.candidates]
    told: dict[str, Any] = {
        "policy": policy if isinstance(policy, str) else policy.name,
        "weights": {name: getattr(weights, name) for name in _WEIGHTS},
        "scale": SCALE,
        "view_version": match.view_version,
        "feasible": match.feasible,
        "rejects": dict(match.rejects),
        "chosen": top[0] if top else None,
        "top": top,
    }
    if match.verdict is not None:
        told["verdict"] = match.verdict.value
    return told


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "node_id": candidate.node_id,
        "total": candidate.total,
        "score": candidate.score,
        "price": format_hyper(candidate.price),
        "terms": dict(candidate.terms),
    }
