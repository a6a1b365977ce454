from __future__ import annotations

from solders.account import Account

from app.chain.devchain.money import keypair
from tests.unit.chain.devchain.chains import BOB, RECEIPT, SOL, lamports, manual, paying


def test_accounts_are_read_as_of_earlier_slots() -> None:
    chain = manual(finalize_depth=10)
    slots = []
    for number in range(1, 4):
        chain.send(paying(chain, number * SOL))
        slots.append(chain.slot)
        chain.advance(2)
    found = [chain.bank.account(BOB.pubkey(), slot) for slot in (slots[0] - 1, *slots)]
    assert [account.lamports if account else None for account in found] == [None, SOL, 3 * SOL, 6 * SOL]


def test_what_is_final_is_not_kept_for_the_past() -> None:
    chain = manual()
    chain.send(paying(chain))
    first = chain.slot
    chain.advance(10)
    assert chain.bank.retained > first
    assert chain.bank.changed(first) == set()
    assert lamports(chain, BOB.pubkey(), "finalized") == SOL


def test_owned_accounts_are_those_of_that_slot() -> None:
    chain = manual()
    early, late = keypair("early").pubkey(), keypair("late").pubkey()
    chain.set_account(early, Account(SOL, b"one", RECEIPT))
    slot = chain.slot
    chain.advance()
    chain.set_account(early, Account(SOL, b"two", RECEIPT))
    chain.set_account(late, Account(SOL, b"new", RECEIPT))
    then = chain.bank.owned_by(RECEIPT, slot)
    now = chain.bank.owned_by(RECEIPT, chain.slot)
    assert {key: account.data for key, account in then.items()} == {early: b"one"}
    assert {key: account.data for key, account in now.items()} == {early: b"two", late: b"new"}


def test_an_account_can_be_taken_away_by_hand() -> None:
    chain = manual()
    key = keypair("gone").pubkey()
    chain.set_account(key, Account(SOL, b"here", RECEIPT))
    chain.advance()
    chain.set_account(key, Account(0, b"", RECEIPT))
    assert chain.account(key) is None
    assert chain.account(key, "confirmed") is not None
    chain.advance()
    assert chain.account(key, "confirmed") is None
