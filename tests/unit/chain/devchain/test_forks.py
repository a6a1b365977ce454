from __future__ import annotations

import random

import pytest
from solders.account import Account
from solders.instruction import AccountMeta

from app.chain.devchain import DevChain, Rejected
from app.chain.devchain.emitter import Op, record
from app.chain.devchain.money import keypair
from tests.unit.chain.devchain.chains import ALICE, BOB, RECEIPT, SOL, emitting, lamports, manual, paying


def test_a_fork_takes_back_the_open_block_and_those_behind_it() -> None:
    chain = manual()
    first = chain.send(paying(chain, SOL))
    chain.advance()
    second = chain.send(paying(chain, 2 * SOL))
    chain.advance()
    third = chain.send(paying(chain, 3 * SOL))
    tip = chain.slot
    result = chain.fork(1, reland=False)
    assert (result.slot, chain.slot) == (tip - 2, tip + 1)
    assert (result.dropped, result.reland) == ([second.signature, third.signature], [])
    assert lamports(chain, BOB.pubkey()) == SOL
    assert chain.transaction(second.signature) is None
    assert chain.history.page(BOB.pubkey(), chain.slot, None, None, 9) == [first]
    assert chain.blocks.get(tip) is None and chain.blocks.get(tip - 1) is None


def test_transactions_land_again_in_a_later_slot() -> None:
    chain = manual()
    old = chain.send(paying(chain, SOL))
    chain.advance()
    result = chain.fork(1)
    landed = chain.transaction(old.signature)
    assert result.reland == [old.signature]
    assert landed is not None and landed is not old and landed.slot == chain.slot > old.slot
    assert lamports(chain, BOB.pubkey()) == SOL
    chain.advance()
    assert chain.slot_at("confirmed") == landed.slot


def test_some_are_dropped_and_others_land_later() -> None:
    chain = manual()
    kept, lost = chain.send(paying(chain, SOL)), chain.send(paying(chain, 2 * SOL))
    result = chain.fork(0, drop=[lost.signature], reland=3)
    assert (result.dropped, result.reland) == ([lost.signature], [kept.signature])
    chain.advance(2)
    assert chain.transaction(kept.signature) is None
    chain.advance()
    assert chain.transaction(kept.signature) is not None
    assert chain.transaction(lost.signature) is None
    # Nobody keeps the lost one from being sent again.
    chain.send(lost.raw)
    assert lamports(chain, BOB.pubkey()) == 3 * SOL


def test_a_blockhash_of_an_abandoned_block_is_good_for_nothing() -> None:
    chain = manual()
    chain.advance()
    fresh, _ = chain.latest_blockhash("confirmed")
    landed = chain.send(paying(chain, blockhash=fresh))
    assert chain.fork(1).dropped == [landed.signature]
    with pytest.raises(Rejected, match="BlockhashNotFound"):
        chain.send(landed.raw)


def test_confirmed_blocks_may_go_and_finalized_ones_may_not() -> None:
    chain = manual()
    chain.send(paying(chain))
    chain.advance(3)
    assert lamports(chain, BOB.pubkey(), "confirmed") == SOL
    with pytest.raises(ValueError, match="finalized"):
        chain.fork(4)
    chain.fork(3, reland=False)
    assert lamports(chain, BOB.pubkey(), "confirmed") == 0
    assert chain.slot_at("confirmed") < chain.slot - 3


def test_what_was_set_by_hand_is_set_again_in_its_place() -> None:
    chain = manual()
    state = keypair("state").pubkey()
    chain.set_account(state, Account(SOL, b"....", RECEIPT))
    write = record(bytes(4) + b"ABCD", Op.WRITE)
    chain.send(emitting(chain, write, [AccountMeta(state, False, True)]))
    chain.set_account(keypair("other").pubkey(), Account(SOL, b"after", RECEIPT))
    chain.advance()
    result = chain.fork(1)
    account = chain.account(state)
    assert len(result.reland) == 1
    assert account is not None and account.data == b"ABCD"
    assert [(put.after, put.account.data) for put in chain.blocks.open.puts] == [(0, b"...."), (1, b"after")]
    chain.fork(0, reland=False)
    account = chain.account(state)
    assert account is not None and account.data == b"...."


def test_a_relanded_transaction_may_fare_otherwise() -> None:
    chain = manual()
    rich = chain.send(paying(chain, 60 * SOL))
    poor = chain.send(paying(chain, 30 * SOL))
    chain.fork(0, drop=[rich.signature])
    again = chain.transaction(poor.signature)
    assert again is not None and again.err is None
    other = chain.send(paying(chain, 69 * SOL))
    assert other.err is None
    assert chain.send(paying(chain, 5 * SOL)).err is not None


@pytest.mark.parametrize("seed", range(4))
def test_accounts_after_forks_are_what_replaying_the_blocks_gives(seed: int) -> None:
    chance = random.Random(seed)
    chain = manual(seed=seed)
    people = [keypair(f"person {number}").pubkey() for number in range(4)]
    state = keypair("state").pubkey()
    chain.set_account(state, Account(SOL, bytes(16), RECEIPT))
    for _ in range(120):
        dice = chance.random()
        if dice < 0.5:
            chain.send(paying(chain, chance.randrange(1, SOL // 50), chance.choice(people)))
        elif dice < 0.7:
            write = record(bytes(4) + chance.randbytes(16), Op.WRITE)
            chain.send(emitting(chain, write, [AccountMeta(state, False, True)]))
        elif dice < 0.9:
            chain.advance()
        else:
            depth = chance.randrange(3)
            if chain.blocks.newest(chain.slot - 1 - depth) >= chain.slot_at("finalized"):
                chain.fork(depth, reland=chance.choice((True, False, 2)))
    replayed = _replayed(chain)
    for key in (*people, state, ALICE.pubkey(), chain.faucet.pubkey()):
        assert chain.account(key) == replayed.account(key), str(key)


def _replayed(chain: DevChain) -> DevChain:
    """A new chain on which the surviving blocks ran, one after another."""
    new = DevChain(chain.config)
    blocks = [chain.blocks.get(slot) for slot in chain.blocks.between(1, chain.slot)] + [chain.blocks.open]
    for block in blocks:
        assert block is not None
        new.skip(block.slot - new.slot - 1) if block.slot > new.slot else None
        for number, landed in enumerate(block.landed):
            for put in [put for put in block.puts if put.after == number]:
                new.set_account(put.key, put.account)
            new.load([landed.raw], per_block=1000)
        for put in [put for put in block.puts if put.after == len(block.landed)]:
            new.set_account(put.key, put.account)
    return new
