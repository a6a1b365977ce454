"""Whether payment events tell the truth: held against the tokens that moved, the price, the split and the operator.

A payment event is only a claim: settle_job checks neither mint nor operator, and several payments may share one
transaction. Shares as the network splits them: 80 % operator, 10 % treasury, 5 % incentive pool, 5 % orchestrator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.core.chain import Commitment, PaymentState, Verdict

SHARES = (80, 10, 5, 5)
"""Percent for operator, treasury, incentive pool and orchestrator; each share is rounded down."""

_PROCESSED = "processed"


@dataclass(frozen=True, slots=True)
class Wallets:
    """Who must be paid in what. Empty: not configured, so not checked; without ``mint`` nothing is."""

    mint: str = ""
    treasury: str = ""
    incentive_pool: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """What one token account gained (+) or lost (-) in a transaction, in base units of ``mint``."""

    account: str
    owner: str
    mint: str
    amount: int


@dataclass(frozen=True, slots=True)
class Claim:
    """One payment event of a transaction, in base units.

    ``kind``: ``distributed`` (of a job; it says nothing of an orchestrator) or ``processed`` (of the splitter).
    ``address``: the job's account, None when it is not known. ``price``: what the job pays, None when not known.
    ``operators``: wallets that its operator may be paid to, empty when not known. ``repeated``: an event before it in
    the transaction says the same of the same job.
    """

    kind: str
    address: str | None
    total: int | None
    operator: int
    treasury: int
    incentive: int
    orchestrator: int | None
    price: int | None = None
    operators: frozenset[str] = frozenset()
    repeated: bool = False

    @property
    def parts(self) -> tuple[int, ...]:
        return (self.operator, self.treasury, self.incentive, self.orchestrator or 0)


def judge(claims: Sequence[Claim], moved: Sequence[Moved], wallets: Wallets) -> list[Verdict]:
    """The verdict on each payment event of one transaction, given what moved in all of it."""
    return [_verdict(claim, claims, moved, wallets) for claim in claims]


def mint_moved(moved: Sequence[Moved], mint: str) -> str | None:
    """The mint that was paid in: ``mint`` if any account gained some, else the one most of which was gained."""
    gained = [one for one in moved if one.amount > 0]
    best = max(gained, key=lambda one: (one.mint == mint, one.amount, one.mint), default=None)
    return None if best is None else best.mint


def payment_state(
    payments: Iterable[tuple[Verdict, Commitment, tuple[int, str]]],
) -> tuple[PaymentState, Verdict | None]:
    """What a job's ``(verdict, commitment, place)`` come to, and why it is not valid. One good payment is enough."""
    standing = sorted(
        (one for one in payments if one[1] is not Commitment.ORPHANED), key=lambda one: (one[2], one[0], one[1])
    )
    if not standing:
        return PaymentState.NONE, None
    final = [verdict for verdict, commitment, _ in standing if commitment is Commitment.FINALIZED]
    if Verdict.VALID in final:
        return PaymentState.VALID, None
    undecided = [v for v, commitment, _ in standing if commitment is Commitment.CONFIRMED or v is Verdict.UNVERIFIED]
    if undecided:
        good = Verdict.VALID in undecided
        return PaymentState.OBSERVED, None if good else undecided[-1]
    return PaymentState.INVALID, final[-1]


def _verdict(claim: Claim, claims: Sequence[Claim], moved: Sequence[Moved], wallets: Wallets) -> Verdict:
    if not wallets.mint:
        return Verdict.UNVERIFIED
    if any(claim.parts):
        gains = [one for one in moved if one.amount > 0 and one.mint == wallets.mint]
        if not gains:
            return Verdict.FAKE_MINT if any(one.amount > 0 for one in moved) else Verdict.NO_TRANSFER
        wrong = _amounts(claim, claims, gains, wallets)
        if wrong is not None:
            return wrong
    if claim.address is not None and not claim.operators:
        return Verdict.UNVERIFIED
    if claim.price is None and claim.kind != _PROCESSED:
        return Verdict.UNVERIFIED
    return Verdict.VALID if _split_is_right(claim) else Verdict.WRONG_SPLIT


def _amounts(claim: Claim, claims: Sequence[Claim], gains: Sequence[Moved], wallets: Wallets) -> Verdict | None:
    """What is wrong with what the token accounts gained, None if one reading of the transaction explains it.

    Payments of several jobs add up on the accounts they share. Both programs may tell of the same tokens, or each of
    its own; and an event may be repeated without tokens of its own, which then counts once.
    """
    first: Verdict | None = None
    for together in ([one for one in claims if one.kind == claim.kind], claims):
        for reading in [together] if claim.repeated else [[one for one in together if not one.repeated], together]:
            wrong = _reading(claim, reading, gains, wallets)
            if wrong is None:
                return None
            first = first or wrong
    return first


def _reading(claim: Claim, claims: Sequence[Claim], gains: Sequence[Moved], wallets: Wallets) -> Verdict | None:
    parties: list[tuple[int, frozenset[str], Verdict]] = [
        (claim.operator, claim.operators, Verdict.WRONG_OPERATOR),
        (claim.treasury, frozenset(filter(None, [wallets.treasury])), Verdict.WRONG_TREASURY),
        (claim.incentive, frozenset(filter(None, [wallets.incentive_pool])), Verdict.WRONG_INCENTIVE_POOL),
    ]
    for amount, owners, misled in parties:
        if not owners:
            continue
        got = sum(one.amount for one in gains if one.owner in owners)
        if got != _due_to(owners, claims, wallets):
            elsewhere = any(one.amount >= amount and one.owner not in owners for one in gains)
            return misled if not got and elsewhere else Verdict.WRONG_AMOUNTS
    return None if _rest_fits(claims, gains, wallets) else Verdict.WRONG_AMOUNTS


def _due_to(owners: frozenset[str], claims: Sequence[Claim], wallets: Wallets) -> int:
    """What these owners must have gained, in whatever role."""
    return sum(
        (one.operator if one.operators & owners else 0)
        + (one.treasury if wallets.treasury in owners else 0)
        + (one.incentive if wallets.incentive_pool in owners else 0)
        for one in claims
    )


def _rest_fits(claims: Sequence[Claim], gains: Sequence[Moved], wallets: Wallets) -> bool:
    """Whether the shares of nobody in particular are found on the accounts of nobody in particular.

    Each role's sum on one account, roles that share an account included; or each payment on accounts of its own.
    """
    named = frozenset({wallets.treasury, wallets.incentive_pool}).union(*(one.operators for one in claims)) - {""}
    pool = Counter(one.amount for one in gains if one.owner not in named)
    roles: list[tuple[bool, Callable[[Claim], int]]] = [
        (True, lambda one: 0 if one.operators else one.operator),
        (not wallets.treasury, lambda one: one.treasury),
        (not wallets.incentive_pool, lambda one: one.incentive),
        (True, lambda one: one.orchestrator or 0),
    ]
    by_role = [[share for one in claims if (share := amount(one))] for open_, amount in roles if open_]
    sums = [sum(shares) for shares in by_role if shares]
    return any(_within(block, pool) for block in _groupings(sums)) or _within(
        [share for shares in by_role for share in shares], pool
    )


def _within(amounts: Iterable[int], pool: Counter[int]) -> bool:
    return not Counter(amounts) - pool


def _groupings(amounts: Sequence[int]) -> Iterator[list[int]]:
    """The sums of every way to put the amounts (four at most) together."""
    if not amounts:
        yield []
        return
    for rest in _groupings(amounts[1:]):
        yield [amounts[0], *rest]
        for index, other in enumerate(rest):
            yield [*rest[:index], other + amounts[0], *rest[index + 1 :]]


def _split_is_right(claim: Claim) -> bool:
    whole = claim.total if claim.price is None else claim.price
    if whole is None:
        return False
    # Shares that are all rounded down leave a few base units of the total with whoever pays.
    if claim.total is not None and not (0 <= claim.total - sum(claim.parts) < len(SHARES) and claim.total == whole):
        return False
    shares = [whole * share // 100 for share in SHARES]
    near = all(abs(part - share) <= 1 for part, share in zip(claim.parts[:3], shares, strict=False))
    if claim.orchestrator is None:
        return near
    # What rounding leaves over may go to the last.
    return near and (abs(claim.orchestrator - shares[3]) <= 1 or claim.orchestrator == whole - sum(claim.parts[:3]))
