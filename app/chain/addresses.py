"""Which account an event speaks of, and what its transaction moved: pure functions of the event."""

from __future__ import annotations

from typing import Literal

from app.chain.model import ChainEvent, Transaction, Transfer
from app.chain.programs import Programs


def kind_of(event: ChainEvent) -> Literal["job", "node"] | None:
    """Whether the event names a job or a node; None for those of the splitter, which name neither."""
    if "node_id" in event.data and event.name.startswith("Node"):
        return "node"
    return "job" if "job_id" in event.data else None


def subject_of(event: ChainEvent) -> str | None:
    """The job_id or node_id that the event names."""
    kind = kind_of(event)
    return None if kind is None else str(event.data[f"{kind}_id"])


def derived_address(programs: Programs, event: ChainEvent) -> str | None:
    """The account's address where the event says enough to derive it (PDAs: ``node, owner, node_id`` and
    ``job, client, job_id``); None where it must be found among the instruction's accounts."""
    data = event.data
    kind = kind_of(event)
    if kind == "node" and "owner" in data:
        return programs.node_address(data["owner"], data["node_id"])
    if kind == "job" and "client" in data:
        return programs.job_address(data["client"], data["job_id"])
    return None


def transfers_of(transaction: Transaction) -> tuple[Transfer, ...]:
    """What each token account gained or lost in the transaction; those that end as they began are left out."""
    before = {(one.account, one.mint): one for one in transaction.pre_balances}
    after = {(one.account, one.mint): one for one in transaction.post_balances}
    changes = []
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key), after.get(key)
        amount = (new.amount if new else 0) - (old.amount if old else 0)
        if amount:
            shown = new or old
            assert shown is not None
            changes.append(Transfer(shown.account, shown.owner, shown.mint, amount))
    return tuple(changes)
