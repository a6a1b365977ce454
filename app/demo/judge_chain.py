"""Holds what the engine made of the chain against the chain itself, and against what was planned: pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from app.demo.agent import Creation
from app.demo.onchain import ChainLedger, Pay, Way
from app.demo.trace import TraceJob, TraceNode
from app.services.audit import ChainRecord
from app.store.audit import JobRow, NodeRow

_UNPAID = ("none", "awaiting")
_VERDICTS = {
    Pay.RIGHT: "valid",
    Pay.FAKE_MINT: "fake_mint",
    Pay.SHORT: "wrong_amounts",
    Pay.NO_TRANSFER: "no_transfer",
    Pay.STRANGER: "wrong_operator",
}


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which of the engine's jobs is which of the trace's. ``acknowledged``: by the engine's id.

    Faults: ``missing``: jobs that were created on chain and have no job here. ``mistaken``: accounts that belong to
    another job than the one they were created for, or got it another way than planned.
    """

    acknowledged: dict[str, TraceJob]
    missing: int
    mistaken: int


def pair(chain: ChainRecord, jobs: Iterable[JobRow], created: Iterable[Creation]) -> Pairing:
    """Jobs made by a spec or submitted name their job of the trace themselves, whatever they were linked to."""
    links = {link.address: link for link in chain.links}
    rows = {row.id: row for row in jobs}
    acknowledged: dict[str, TraceJob] = {}
    missing = mistaken = 0
    for one in created:
        link = links.get(one.address)
        row = None if link is None else rows.get(link.job_id or "")
        if link is None or row is None:
            missing += 1
            if one.job_id in rows:
                # It was submitted, and runs; only the chain does not know.
                acknowledged[one.job_id] = one.one.job
            continue
        named = "" if one.one.way is Way.DEFAULTS else one.one.job.id
        mistaken += (
            row.given.get("trace", "") != named
            or row.chain_job != one.address
            or link.linked_by != one.one.way
            or (one.job_id not in ("", row.id))
        )
        acknowledged[row.id] = one.one.job
    return Pairing(acknowledged, missing, mistaken)


@dataclass(frozen=True, slots=True)
class ChainFindings:
    """Amounts are base units of HYPER. ``paid``: what wallets hold on chain that were paid. Faults are:

    ``events_missing`` and ``events_extra`` (events on chain that are not stored, final and in their slot; the other way
    round), ``off`` (what payments and wallets differ by, all added up), ``unplanned`` (jobs that were not settled or
    disputed as they deserve, and for the right reason), ``mistaken`` (see Pairing), ``standing_off`` (nodes whose stake
    is not the chain's), ``quarantined``.
    """

    slot: int
    transactions: int
    events: int
    payments: int
    paid: int
    settled: int
    disputed: int
    linked: dict[str, int]
    matched_ms: list[float]
    events_missing: int
    events_extra: int
    off: int
    unplanned: int
    mistaken: int
    standing_off: int
    quarantined: int

    @property
    def clean(self) -> bool:
        return not (
            self.events_missing
            or self.events_extra
            or self.off
            or self.unplanned
            or self.mistaken
            or self.standing_off
            or self.quarantined
        )


def judge_chain(
    ledger: ChainLedger,
    chain: ChainRecord,
    jobs: Collection[JobRow],
    nodes: Iterable[NodeRow],
    *,
    paid: Mapping[str, Pay],
    created: Iterable[Creation],
    trace: Mapping[str, TraceNode],
    mint: str,
    mistaken: int,
) -> ChainFindings:
    """``ledger``: the chain's own. ``paid``: what was done for which account. ``trace``: the nodes, by wallet."""
    on_chain = {(event.key, event.name, event.slot) for event in ledger.events}
    stored = {(event.key, event.name, event.slot) for event in chain.events if event.commitment == "finalized"}
    links = Counter(link.linked_by or "none" for link in chain.links)
    settlements = Counter(row.settlement for row in jobs)
    return ChainFindings(
        slot=ledger.slot,
        transactions=ledger.transactions,
        events=len(ledger.events),
        payments=sum(bool(event.amounts) for event in ledger.events),
        paid=sum(ledger.held.values()),
        settled=settlements["settled"],
        disputed=settlements["disputed"],
        linked=dict(links),
        matched_ms=_matched_ms(jobs, created),
        events_missing=len(on_chain - stored),
        events_extra=len(chain.events) - len(on_chain & stored),
        off=_amounts_off(ledger, chain) + _tokens_off(ledger, chain, mint),
        unplanned=_unplanned(jobs, chain, paid),
        mistaken=mistaken,
        standing_off=sum(row.stake != int(trace[row.wallet].stake * 10**9) for row in nodes if row.wallet in trace),
        quarantined=chain.quarantined,
    )


def _matched_ms(jobs: Iterable[JobRow], created: Iterable[Creation]) -> list[float]:
    """From creation on chain to the first offer, ascending; of jobs whose spec was stored before."""
    at = {one.address: one.at for one in created if one.one.way is Way.SPEC}
    return sorted(
        (row.matched_at.timestamp() - at[row.chain_job]) * 1000
        for row in jobs
        if row.chain_job in at and row.matched_at is not None
    )


def _amounts_off(ledger: ChainLedger, chain: ChainRecord) -> int:
    """By how much the stored amounts of payments differ from those in the events."""
    said = {event.key: event.amounts for event in ledger.events if event.amounts}
    kept = {payment.key: payment.amounts for payment in chain.payments}
    off = 0
    for key in said.keys() | kept.keys():
        ours, theirs = kept.get(key, ()), said.get(key, ())
        if len(ours) == len(theirs):
            off += sum(abs(one - other) for one, other in zip(ours, theirs, strict=True))
        else:
            off += sum(ours) + sum(theirs)
    return off


def _tokens_off(ledger: ChainLedger, chain: ChainRecord, mint: str) -> int:
    """By how much the tokens that payments are stored to have moved differ from what the wallets hold."""
    # Several payments may share a transaction, and each tells of all that moved in it.
    gains = {payment.key[0]: payment.gains for payment in chain.payments}
    gained: Counter[str] = Counter()
    for moved in gains.values():
        for wallet, of_mint, amount in moved:
            if of_mint == mint:
                gained[wallet] += amount
    return sum(abs(gained[wallet] - ledger.held.get(wallet, 0)) for wallet in gained.keys() | ledger.held.keys())


def _unplanned(jobs: Iterable[JobRow], chain: ChainRecord, paid: Mapping[str, Pay]) -> int:
    verdicts: dict[str, set[str]] = {}
    for payment in chain.payments:
        verdicts.setdefault(payment.address or "", set()).add(payment.verdict)
    found = len(verdicts.keys() - paid.keys())
    for row in jobs:
        pay = paid.get(row.chain_job or "")
        if pay is None:
            found += row.settlement not in _UNPAID
        else:
            settled = "settled" if pay is Pay.RIGHT else "disputed"
            found += (row.settlement, verdicts.get(row.chain_job or "")) != (settled, {_VERDICTS[pay]})
    return found
