from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.demo.agent import Creation
from app.demo.judge_chain import ChainFindings, judge_chain, pair
from app.demo.onchain import ChainLedger, Pay, SeenEvent, Way
from app.demo.scenario import Submission
from app.services.audit import ChainRecord
from app.store.audit import JobRow, NodeRow
from app.store.chain.audit import EventSeen, LinkSeen, PaymentSeen
from tests.unit.demo.test_trace import NODE, changed

MATCHED = datetime(2026, 1, 1, 12, tzinfo=UTC)
CREATED = ("s1", "p", 0, -1, 0)
PAID = ("s2", "p", 0, -1, 0)


def creation(way: Way = Way.SPEC, job_id: str = "") -> Creation:
    one = Submission(changed(id="pod"), 0.0, "key", {}, False, way, 0, 100, Pay.RIGHT, False)
    return Creation(one, "pod", "address", MATCHED.timestamp() - 0.25, job_id)


def row(**fields: Any) -> JobRow:
    return replace(
        JobRow("job_1", "completed", 1.0, MATCHED, {"trace": "pod"}, "address", "settled", MATCHED), **fields
    )


def record(**fields: Any) -> ChainRecord:
    events = [EventSeen(CREATED, "JobCreatedEvent", 5, "finalized"), EventSeen(PAID, "Paid", 6, "finalized")]
    payments = [PaymentSeen(PAID, "address", "valid", (80, 10, 5), (("operator", "HYPER", 80), ("x", "fake", 9)))]
    links = [LinkSeen("address", "pod", "job_1", "spec")]
    return replace(ChainRecord(events, payments, links, 0), **fields)


LEDGER = ChainLedger(
    9, 3, [SeenEvent(CREATED, "JobCreatedEvent", 5), SeenEvent(PAID, "Paid", 6, (80, 10, 5))], {"operator": 80, "y": 0}
)


def judged(
    ledger: ChainLedger = LEDGER,
    chain: ChainRecord | None = None,
    job: JobRow | None = None,
    pay: Pay | None = Pay.RIGHT,
    stake: int = 10**9,
) -> ChainFindings:
    return judge_chain(
        ledger,
        chain or record(),
        [job or row()],
        [NodeRow("node_1", "n", 1, 0, 0, stake)],
        paid={} if pay is None else {"address": pay},
        created=[creation()],
        trace={"n": NODE},
        mint="HYPER",
        mistaken=0,
    )


def test_a_good_run_is_clean() -> None:
    assert NODE.stake == Decimal(1)
    found = judged()
    assert found.clean
    assert (found.events, found.payments, found.paid, found.settled, found.disputed) == (2, 1, 80, 1, 0)
    assert found.linked == {"spec": 1}
    assert found.matched_ms == [pytest.approx(250.0, abs=0.1)]


@pytest.mark.parametrize(
    ("stored", "missing", "extra"),
    [
        ([], 2, 0),
        ([EventSeen(CREATED, "JobCreatedEvent", 4, "finalized"), EventSeen(PAID, "Paid", 6, "finalized")], 1, 1),
        ([EventSeen(CREATED, "JobCreatedEvent", 5, "confirmed"), EventSeen(PAID, "Paid", 6, "finalized")], 1, 1),
        ([*record().events, EventSeen(("s3", "p", 0, -1, 0), "Paid", 6, "confirmed")], 0, 1),
    ],
)
def test_events_are_held_against_the_chain(stored: list[EventSeen], missing: int, extra: int) -> None:
    found = judged(chain=record(events=stored))
    assert (found.events_missing, found.events_extra, found.clean) == (missing, extra, False)


def test_amounts_are_held_against_events_and_wallets() -> None:
    payment = record().payments[0]
    assert judged(chain=record(payments=[replace(payment, amounts=(81, 10, 5))])).off == 1
    assert judged(chain=record(payments=[])).off == 95 + 80
    assert judged(chain=record(payments=[replace(payment, gains=(("operator", "HYPER", 79),))])).off == 1
    # Two payments of one transaction tell of the same tokens.
    twin = replace(payment, key=("s2", "p", 1, -1, 0))
    ledger = ChainLedger(9, 3, [*LEDGER.events, SeenEvent(twin.key, "Paid", 6, (80, 10, 5))], LEDGER.held)
    assert judged(ledger, record(payments=[payment, twin])).off == 0


@pytest.mark.parametrize(
    ("pay", "settlement", "verdict", "planned"),
    [
        (Pay.RIGHT, "settled", "valid", True),
        (Pay.RIGHT, "observed", "valid", False),
        (Pay.FAKE_MINT, "disputed", "fake_mint", True),
        (Pay.SHORT, "disputed", "fake_mint", False),
        (Pay.SHORT, "settled", "wrong_amounts", False),
        (None, "none", "", True),
        (None, "awaiting", "", True),
        (None, "settled", "", False),
        (None, "none", "valid", False),
    ],
)
def test_settlements_are_held_against_the_plan(pay: Pay | None, settlement: str, verdict: str, planned: bool) -> None:
    payments = [replace(record().payments[0], verdict=verdict)] if verdict else []
    found = judged(chain=record(payments=payments), job=row(settlement=settlement), pay=pay)
    assert found.unplanned == (0 if planned else 1)


def test_standings_and_quarantine_count() -> None:
    assert judged(stake=5).standing_off == 1
    assert not judged(chain=record(quarantined=1)).clean


@pytest.mark.parametrize(
    ("made", "job", "links", "faults"),
    [
        (creation(), row(), None, (0, 0)),
        (creation(), row(), [], (1, 0)),
        (creation(), row(), [LinkSeen("address", "pod", None, None)], (1, 0)),
        (creation(), row(given={"trace": "other"}), None, (0, 1)),
        (creation(), row(given={}), None, (0, 1)),
        (creation(), row(chain_job="elsewhere"), None, (0, 1)),
        (creation(Way.HASH, "job_1"), row(), [LinkSeen("address", "pod", "job_1", "hash")], (0, 0)),
        (creation(Way.HASH, "job_2"), row(), [LinkSeen("address", "pod", "job_1", "hash")], (0, 1)),
        (creation(Way.ID, "job_1"), row(), None, (0, 1)),
        (creation(Way.DEFAULTS), row(given={}), [LinkSeen("address", "pod", "job_1", "defaults")], (0, 0)),
        (creation(Way.DEFAULTS), row(), [LinkSeen("address", "pod", "job_1", "defaults")], (0, 1)),
    ],
)
def test_every_account_has_the_job_it_was_made_for(
    made: Creation, job: JobRow, links: list[LinkSeen] | None, faults: tuple[int, int]
) -> None:
    chain = record() if links is None else record(links=links)
    pairing = pair(chain, [job], [made])
    assert (pairing.missing, pairing.mistaken) == faults
    assert pairing.acknowledged == ({} if faults[0] else {"job_1": made.one.job})


def test_a_submitted_job_that_the_chain_does_not_know_is_still_a_job() -> None:
    pairing = pair(record(links=[]), [row()], [creation(Way.HASH, "job_1")])
    assert (pairing.missing, pairing.acknowledged) == (1, {"job_1": changed(id="pod")})
