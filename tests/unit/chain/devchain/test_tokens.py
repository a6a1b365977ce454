from __future__ import annotations

from typing import Any

import msgspec
import pytest
from solders.account import Account

from app.chain.devchain import tokens
from app.chain.devchain.money import HYPER, Money, keypair, transfer
from tests.unit.chain.devchain.chains import ALICE, BOB, SOL, manual


@pytest.mark.parametrize(
    ("amount", "decimals", "text"),
    [
        (0, 9, "0"),
        (1, 9, "0.000000001"),
        (1_500_000_000, 9, "1.5"),
        (10 * HYPER, 9, "10"),
        (2**64 - 1, 9, "18446744073.709551615"),
        (7, 0, "7"),
        (100, 2, "1"),
    ],
)
def test_amounts_are_told_in_four_ways(amount: int, decimals: int, text: str) -> None:
    told = tokens.ui_amount(amount, decimals)
    assert (told["amount"], told["decimals"], told["uiAmountString"]) == (str(amount), decimals, text)
    assert told["uiAmount"] == pytest.approx(float(text))


def test_transfers_show_in_the_balances_of_their_transaction() -> None:
    chain = manual()
    money = Money(chain)
    source, to = money.give(ALICE.pubkey(), 10 * HYPER), money.account(BOB.pubkey())
    landed = chain.send(chain.sign([transfer(source, to, ALICE.pubkey(), 3 * HYPER)], [ALICE]))
    meta = msgspec.json.decode(landed.meta)

    def amounts(balances: list[dict[str, Any]]) -> dict[str, str]:
        assert {each["mint"] for each in balances} == {str(money.mint)}
        assert {each["programId"] for each in balances} == {str(tokens.TOKEN)}
        return {each["owner"]: each["uiTokenAmount"]["amount"] for each in balances}

    alice, bob = str(ALICE.pubkey()), str(BOB.pubkey())
    assert amounts(meta["preTokenBalances"]) == {alice: str(10 * HYPER), bob: "0"}
    assert amounts(meta["postTokenBalances"]) == {alice: str(7 * HYPER), bob: str(3 * HYPER)}
    empty = next(each for each in meta["preTokenBalances"] if each["owner"] == bob)
    assert empty["uiTokenAmount"]["uiAmount"] is None
    assert (money.held(ALICE.pubkey()), money.held(BOB.pubkey())) == (7 * HYPER, 3 * HYPER)


def test_an_account_that_comes_into_being_has_no_balance_before() -> None:
    chain = manual()
    money = Money(chain)
    money.account(BOB.pubkey())
    meta = msgspec.json.decode(chain.blocks.open.landed[-1].meta)
    assert meta["preTokenBalances"] == []
    assert [each["owner"] for each in meta["postTokenBalances"]] == [str(BOB.pubkey())]


def test_transactions_without_the_token_program_tell_no_balances() -> None:
    chain = manual()
    money = Money(chain)
    address = money.give(ALICE.pubkey(), HYPER)
    landed = chain.airdrop(address, SOL)
    assert msgspec.json.decode(landed.meta)["postTokenBalances"] == []


def test_what_is_no_token_account_is_none() -> None:
    for account in (
        None,
        Account(SOL, bytes(165), keypair("someone").pubkey()),
        Account(SOL, bytes(165), tokens.TOKEN),
        Account(SOL, bytes(164), tokens.TOKEN),
    ):
        assert tokens.token_account(account) is None
    assert tokens.mint(Account(SOL, bytes(80), tokens.TOKEN)) is None
