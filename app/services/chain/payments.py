"""The payments of some transactions, judged together: what shares a transaction shares the tokens that it moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from app.core.chain import Commitment, PaymentState
from app.core.folding import Key
from app.core.payouts import Claim, Wallets, judge, mint_moved, payment_state
from app.store.chain.events import KnownEvent
from app.store.chain.links import LinkedJob
from app.store.chain.payments import PaymentRow
from app.store.chain.projections import JobRow

DISTRIBUTED = "distributed"


class Ledger:
    """All payments of the transactions at hand: ``stored`` ones, brought up to what ``changed`` says of their events,
    and ``fresh`` ones."""

    def __init__(
        self, stored: Sequence[PaymentRow], fresh: Sequence[PaymentRow], changed: Mapping[Key, KnownEvent]
    ) -> None:
        self._stored = {row.key: _written(row) for row in stored}
        self.rows = [*stored, *fresh]
        for row in stored:
            event = changed.get(row.key)
            if event is not None:
                row.commitment, row.slot = event.commitment, event.slot
                row.address = event.address or row.address
        # What was taken back is judged, too, among itself: its verdict must not hang on what was known before.
        self._together: dict[tuple[str, bool], list[PaymentRow]] = {}
        for row in self.rows:
            self._together.setdefault((row.key[0], row.commitment is Commitment.ORPHANED), []).append(row)
        for together in self._together.values():
            together.sort(key=lambda row: row.key)
            _find_jobs(together)
        self._by_address: dict[str, list[PaymentRow]] = {}
        for row in self.rows:
            if row.address is not None and row.kind == DISTRIBUTED:
                self._by_address.setdefault(row.address, []).append(row)

    @property
    def addresses(self) -> set[str]:
        """Jobs that the payments are of."""
        return set(self._by_address)

    def judge(self, wallets: Wallets, rows: Mapping[str, JobRow], jobs: Mapping[str, LinkedJob]) -> list[PaymentRow]:
        """Give every payment its verdict; the stored ones that differ from what is stored now."""
        for together in self._together.values():
            verdicts = judge(list(_claims(together, rows, jobs)), together[0].transfers, wallets)
            for row, verdict in zip(together, verdicts, strict=True):
                row.verdict, row.mint = verdict, mint_moved(row.transfers, wallets.mint)
        return [row for row in self.rows if row.key in self._stored and _written(row) != self._stored[row.key]]

    def state_of(self, address: str) -> tuple[PaymentState, str | None]:
        """What the payments of a job come to, and why they are not good."""
        state, why = payment_state(
            (row.verdict, row.commitment, (row.slot, row.key[0])) for row in self._by_address.get(address, ())
        )
        return state, None if why is None else why.value


def _written(row: PaymentRow) -> tuple[object, ...]:
    """What may change of a payment."""
    return row.address, row.mint, row.verdict, row.commitment, row.slot


def _find_jobs(together: Sequence[PaymentRow]) -> None:
    """A payment of the splitter names no job: it is of the one that is paid in the same transaction, or of the one
    among several that is paid the same amounts."""
    paid = [row for row in together if row.kind == DISTRIBUTED and row.address]
    for row in together:
        if row.kind != DISTRIBUTED:
            homes = {one.address for one in paid}
            if len(homes) > 1:
                homes = {one.address for one in paid if _amounts(one) == _amounts(row)}
            row.address = homes.pop() if len(homes) == 1 else None


def _amounts(row: PaymentRow) -> tuple[int, int, int]:
    return row.operator_amount, row.treasury_amount, row.incentive_amount


def _claims(
    together: Iterable[PaymentRow], rows: Mapping[str, JobRow], jobs: Mapping[str, LinkedJob]
) -> Iterable[Claim]:
    said: set[tuple[object, ...]] = set()
    for row in together:
        says = (row.kind, row.address, row.total, *_amounts(row), row.orchestrator_amount)
        job = rows.get(row.address or "")
        yield Claim(
            row.kind,
            row.address,
            row.total,
            row.operator_amount,
            row.treasury_amount,
            row.incentive_amount,
            row.orchestrator_amount,
            None if job is None else job.price,
            frozenset() if job is None else _operators(job, jobs.get(job.job_id or "")),
            row.address is not None and says in said,
        )
        said.add(says)


def _operators(row: JobRow, job: LinkedJob | None) -> frozenset[str]:
    """Who may be paid: the node that the engine gave the job to, else whom the chain names."""
    if job is not None and job.wallets:
        return job.wallets
    return frozenset(filter(None, [row.completed_operator or row.assigned_operator]))
