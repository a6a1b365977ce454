from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from app.chaos.checks import findings
from app.core.folding import Key
from app.demo.onchain import ChainLedger, SeenEvent
from app.services.audit import ChainRecord
from app.store.chain.audit import EventSeen, PaymentSeen
from tests.unit.chaos.runs import Run

CREATED: Key = ("sig1", "receipt", 0, -1, 0)
PAID: Key = ("sig2", "splitter", 0, -1, 0)


@dataclass
class Paid:
    """The job ``good`` was created on chain and paid for, and both are known."""

    run: Run = field(default_factory=Run)
    on_chain: list[SeenEvent] = field(
        default_factory=lambda: [SeenEvent(CREATED, "Created", 3), SeenEvent(PAID, "Paid", 5, (90, 10))]
    )
    stored: list[EventSeen] = field(
        default_factory=lambda: [EventSeen(CREATED, "Created", 3, "finalized"), EventSeen(PAID, "Paid", 5, "finalized")]
    )
    payments: list[PaymentSeen] = field(default_factory=lambda: [PaymentSeen(PAID, "account", "valid", (90, 10), ())])
    quarantined: int = 0

    def names(self) -> set[str]:
        ledger = ChainLedger(9, 2, self.on_chain, {})
        record = ChainRecord(self.stored, self.payments, [], self.quarantined)
        found = findings(self.run.history, self.run.kept, ledger, record)
        return {violation.partition(":")[0] for violation in found}


def test_a_paid_job_is_clean() -> None:
    assert Paid().names() == set()


def keep_a_fork(paid: Paid) -> None:
    paid.stored.append(EventSeen(("sig3", "receipt", 0, -1, 0), "Created", 4, "confirmed"))


def move_an_event(paid: Paid) -> None:
    paid.stored[0] = replace(paid.stored[0], slot=4)


def leave_unfinal(paid: Paid) -> None:
    paid.stored[0] = replace(paid.stored[0], commitment="confirmed")


def store_twice(paid: Paid) -> None:
    paid.stored.append(paid.stored[0])


def miss_an_event(paid: Paid) -> None:
    del paid.stored[0]


def misread_amounts(paid: Paid) -> None:
    paid.payments[0] = replace(paid.payments[0], amounts=(90, 11))


def pay_twice(paid: Paid) -> None:
    paid.payments.append(paid.payments[0])


def put_aside(paid: Paid) -> None:
    paid.quarantined = 1


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (keep_a_fork, "strange_event"),
        (move_an_event, "strange_event"),
        (leave_unfinal, "unfinal_event"),
        (store_twice, "doubled_event"),
        (miss_an_event, "missing_event"),
        (misread_amounts, "wrong_payment"),
        (pay_twice, "doubled_payment"),
        (put_aside, "quarantined"),
    ],
)
def test_every_damage_is_named(damage: Callable[[Paid], None], name: str) -> None:
    paid = Paid()
    damage(paid)
    assert name in paid.names()
