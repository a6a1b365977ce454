"""Plans: what their clients were told, held against the rows. Sums of money are also `hae verify`'s to check."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from app.chaos.checks_rows import Kept
from app.chaos.history import History


def plans(history: History, kept: Kept) -> Iterator[str]:
    """Each acknowledged plan is there, once a key, is over, and its jobs cost no more than its budget."""
    told: dict[str, set[str]] = defaultdict(set)
    refused: set[str] = set()
    for op in history.ops:
        if op.kind == "submit_plan" and op.outcome == "ok":
            told[op.key].add(op.job_id)
        elif op.kind == "submit_plan" and op.outcome == "fail":
            refused.add(op.key)
        elif op.kind == "cancel_plan" and op.outcome == "ok":
            plan = kept.plans.get(op.job_id)
            if plan is not None and not plan.cancel_requested and plan.state == "cancelled":
                yield f"strange_cancel: plan {plan.id} is cancelled, and nobody asked for it"
    for key, ids in told.items():
        if len(ids) > 1:
            yield f"doubled_plan: {key} was answered with {', '.join(sorted(ids))}"
        for plan_id in sorted(ids - kept.plans.keys()):
            yield f"lost_plan: {plan_id} was acknowledged, and is not there"
    for plan in kept.plans.values():
        if plan.key in refused and plan.key not in told:
            yield f"strange_plan: {plan.id} is there, and its submission was refused"
        if not plan.over:
            yield f"open_plan: {plan.id} is {plan.state}, and should be over"
        if plan.live:
            yield f"open_plan: {plan.id} is {plan.state}, and {plan.live} of its jobs are not over"
        if plan.cost > plan.budget:
            yield f"over_budget: the jobs of {plan.id} cost {plan.cost} base units of {plan.budget}"
        if plan.state == "completed" and plan.unfinished:
            yield f"hollow_plan: {plan.id} is completed, and {plan.unfinished} units are neither done nor skipped"
