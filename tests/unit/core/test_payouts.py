"""Verdicts on payments: what each kind of lie is called, and that the truth passes in every form it comes in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.chain import Commitment, PaymentState, Verdict
from app.core.payouts import Claim, Moved, Wallets, judge, mint_moved, payment_state

ALL = Wallets("HYPER", "Treasury", "Pool")
MINT_ONLY = Wallets("HYPER")
CONFIRMED, FINALIZED, ORPHANED = Commitment


def claim(price: int = 1_000, **changes: Any) -> Claim:
    """What settle_job says of a job."""
    shares = (price * 80 // 100, price * 10 // 100, price * 5 // 100)
    return replace(Claim("distributed", "A", None, *shares, None, price, frozenset({"Op"})), **changes)


def split(total: int = 1_000, **changes: Any) -> Claim:
    """What the splitter says."""
    parts = (total * 80 // 100, total * 10 // 100, total * 5 // 100)
    return replace(Claim("processed", None, total, *parts, total - sum(parts)), **changes)


def changed(one: Claim, name: str, value: Any) -> Claim:
    return replace(one, **{name: value})


def moved(mint: str = "HYPER", **gains: int) -> list[Moved]:
    return [Moved(f"{owner}Tokens", owner, mint, amount) for owner, amount in gains.items()]


def paid(*claims: Claim) -> list[Moved]:
    """The tokens that make all of these true."""
    gains: dict[str, int] = {}
    for one in claims:
        parties = (next(iter(one.operators), "Op"), "Treasury", "Pool", "Orchestrator")
        for party, amount in zip(parties, one.parts, strict=True):
            gains[party] = gains.get(party, 0) + amount
    changes = {owner: amount for owner, amount in gains.items() if amount} | {"Client": -sum(gains.values())}
    return [Moved(f"{owner}Tokens", owner, "HYPER", amount) for owner, amount in changes.items()]


def only(one: Claim, tokens: list[Moved], wallets: Wallets = ALL) -> Verdict:
    (verdict,) = judge([one], tokens, wallets)
    return verdict


TRUE = paid(claim())


@pytest.mark.parametrize("wallets", [ALL, MINT_ONLY, Wallets("HYPER", "Treasury"), Wallets("HYPER", "", "Pool")])
def test_the_truth(wallets: Wallets) -> None:
    assert only(claim(), TRUE, wallets) is Verdict.VALID
    assert only(split(), paid(split()), wallets) is Verdict.VALID


@pytest.mark.parametrize(
    ("tokens", "verdict"),
    [
        ([], Verdict.NO_TRANSFER),
        (moved(Client=-950), Verdict.NO_TRANSFER),
        ([replace(one, mint="FAKE") for one in TRUE], Verdict.FAKE_MINT),
        (moved(Op=799, Treasury=100, Pool=50), Verdict.WRONG_AMOUNTS),
        (moved(Op=801, Treasury=100, Pool=50), Verdict.WRONG_AMOUNTS),
        (moved(Op=800, Treasury=99, Pool=50), Verdict.WRONG_AMOUNTS),
        (moved(Op=800, Treasury=100, Pool=51), Verdict.WRONG_AMOUNTS),
        (moved(Thief=800, Treasury=100, Pool=50), Verdict.WRONG_OPERATOR),
        (moved(Op=800, Thief=100, Pool=50), Verdict.WRONG_TREASURY),
        (moved(Op=800, Treasury=100, Thief=50), Verdict.WRONG_INCENTIVE_POOL),
        (moved(Treasury=100, Pool=50), Verdict.WRONG_AMOUNTS),
        ([*moved(Op=1), *moved("FAKE", Op=799, Treasury=100, Pool=50)], Verdict.WRONG_AMOUNTS),
    ],
)
def test_what_the_tokens_contradict(tokens: list[Moved], verdict: Verdict) -> None:
    assert only(claim(), tokens) is verdict


def test_what_nobody_in_particular_must_have_is_still_looked_for() -> None:
    assert only(claim(), moved(Op=800, X=100, Y=50), MINT_ONLY) is Verdict.VALID
    assert only(claim(), moved(Op=800, X=150), MINT_ONLY) is Verdict.VALID
    assert only(claim(), moved(Op=800, X=100, Y=49), MINT_ONLY) is Verdict.WRONG_AMOUNTS
    assert only(split(), moved(X=800, Y=100, Z=50, W=50), MINT_ONLY) is Verdict.VALID
    assert only(split(), moved(X=800, Y=150, W=50), MINT_ONLY) is Verdict.VALID
    assert only(split(), moved(X=800, Y=150, W=49), MINT_ONLY) is Verdict.WRONG_AMOUNTS


def test_what_is_not_known_is_not_verified() -> None:
    assert only(claim(), TRUE, Wallets()) is Verdict.UNVERIFIED
    assert only(claim(price=1_000, operators=frozenset()), TRUE) is Verdict.UNVERIFIED
    assert only(replace(claim(), price=None), TRUE) is Verdict.UNVERIFIED
    # What can be seen to be wrong is wrong all the same.
    assert only(replace(claim(), price=None), []) is Verdict.NO_TRANSFER


def test_shares_are_rounded_down_give_or_take_one() -> None:
    odd = claim(1_019)
    for part, by in ((0, 1), (0, -1), (1, 1), (2, -1)):
        name = ("operator", "treasury", "incentive")[part]
        near, far = (changed(odd, name, odd.parts[part] + by * times) for times in (1, 2))
        assert only(near, paid(near)) is Verdict.VALID
        assert only(far, paid(far)) is Verdict.WRONG_SPLIT
    assert only(replace(claim(2_000), price=1_000), paid(claim(2_000))) is Verdict.WRONG_SPLIT


def test_the_splitters_parts_make_the_whole() -> None:
    assert only(split(1_019), paid(split(1_019))) is Verdict.VALID
    more = split(total=1_000, operator=810)
    assert only(more, paid(more)) is Verdict.WRONG_SPLIT
    other = split(total=1_001, orchestrator=51)
    assert only(replace(other, orchestrator=52), paid(replace(other, orchestrator=52))) is Verdict.WRONG_SPLIT
    assert only(split(price=1_500), paid(split())) is Verdict.WRONG_SPLIT
    floors = replace(split(1_019), operator=815, treasury=101, incentive=50, orchestrator=50)
    assert sum(floors.parts) == 1_016
    assert only(floors, paid(floors)) is Verdict.VALID


def test_nothing_is_split_into_nothing() -> None:
    assert only(claim(1, operator=0, treasury=0, incentive=0), []) is Verdict.VALID
    assert only(claim(2**64 - 1), paid(claim(2**64 - 1))) is Verdict.VALID


def test_both_programs_may_tell_of_the_same_tokens_or_each_of_its_own() -> None:
    job, splitter = claim(), split(address="A", price=1_000, operators=frozenset({"Op"}))
    assert judge([job, splitter], paid(splitter), ALL) == [Verdict.VALID] * 2
    assert judge([job, splitter], paid(job, splitter), ALL) == [Verdict.VALID] * 2
    assert judge([job, splitter], paid(job), ALL) == [Verdict.VALID, Verdict.WRONG_AMOUNTS]


def test_one_payment_does_not_pay_two_jobs() -> None:
    two = [claim(), claim(address="B")]
    assert judge(two, paid(*two), ALL) == [Verdict.VALID] * 2
    assert judge(two, TRUE, ALL) == [Verdict.WRONG_AMOUNTS] * 2
    others = [claim(), claim(address="B", operators=frozenset({"Op2"}))]
    assert judge(others, paid(*others), ALL) == [Verdict.VALID] * 2


def test_a_repeated_event_counts_once_unless_it_was_paid_twice() -> None:
    twice = [claim(), claim(repeated=True)]
    assert judge(twice, TRUE, ALL) == [Verdict.VALID, Verdict.WRONG_AMOUNTS]
    assert judge(twice, paid(*twice), ALL) == [Verdict.VALID] * 2


def test_parties_that_are_one() -> None:
    same = Wallets("HYPER", "Fund", "Fund")
    assert only(claim(), moved(Op=800, Fund=150), same) is Verdict.VALID
    assert only(claim(operators=frozenset({"Fund"})), moved(Fund=950), same) is Verdict.VALID
    assert only(claim(), moved(Op=800, Fund=149), same) is Verdict.WRONG_AMOUNTS


@given(st.integers(1, 2**64 - 1), st.integers(-3, 3), st.sampled_from(["operator", "treasury", "incentive"]))
def test_a_lie_of_one_base_unit_is_seen(price: int, by: int, part: str) -> None:
    true = claim(price)
    told = changed(true, part, max(0, getattr(true, part) + by))
    if not any(told.parts):
        return
    verdict = only(told, paid(true))
    assert (verdict is Verdict.VALID) == (told == true)


@given(
    st.lists(st.tuples(st.integers(1, 9_000), st.sampled_from("PQR")), min_size=1, max_size=5),
    st.booleans(), st.booleans(), st.randoms(),
)  # fmt: skip
def test_any_number_of_true_payments_in_one_transaction(
    given_: list[tuple[int, str]], treasury: bool, pool: bool, random: Any
) -> None:
    claims = [
        claim(price, address=f"A{number}", operators=frozenset({operator}))
        for number, (price, operator) in enumerate(given_)
    ]
    tokens = paid(*claims)
    random.shuffle(tokens)
    wallets = Wallets("HYPER", "Treasury" if treasury else "", "Pool" if pool else "")
    assert set(judge(claims, tokens, wallets)) == {Verdict.VALID}


def test_the_mint_that_was_paid_in() -> None:
    both = [*moved("FAKE", Op=900), *moved(Op=1, Client=-1)]
    assert mint_moved(both, "HYPER") == "HYPER"
    assert mint_moved(both, "") == "FAKE"
    assert mint_moved(moved(Client=-5), "HYPER") is None


@pytest.mark.parametrize(
    ("payments", "state", "why"),
    [
        ([], PaymentState.NONE, None),
        ([(Verdict.VALID, ORPHANED)], PaymentState.NONE, None),
        ([(Verdict.VALID, CONFIRMED)], PaymentState.OBSERVED, None),
        ([(Verdict.FAKE_MINT, CONFIRMED)], PaymentState.OBSERVED, Verdict.FAKE_MINT),
        ([(Verdict.UNVERIFIED, FINALIZED)], PaymentState.OBSERVED, Verdict.UNVERIFIED),
        ([(Verdict.VALID, FINALIZED)], PaymentState.VALID, None),
        ([(Verdict.FAKE_MINT, FINALIZED)], PaymentState.INVALID, Verdict.FAKE_MINT),
        ([(Verdict.FAKE_MINT, FINALIZED), (Verdict.VALID, CONFIRMED)], PaymentState.OBSERVED, None),
        ([(Verdict.FAKE_MINT, FINALIZED), (Verdict.VALID, FINALIZED)], PaymentState.VALID, None),
        ([(Verdict.FAKE_MINT, FINALIZED), (Verdict.NO_TRANSFER, FINALIZED)], PaymentState.INVALID, Verdict.NO_TRANSFER),
    ],
)
def test_what_payments_come_to(
    payments: list[tuple[Verdict, Commitment]], state: PaymentState, why: Verdict | None
) -> None:
    placed = [(verdict, commitment, (slot, "s")) for slot, (verdict, commitment) in enumerate(payments)]
    assert payment_state(placed) == payment_state(placed[::-1]) == (state, why)
