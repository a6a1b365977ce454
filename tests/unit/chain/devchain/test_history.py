from __future__ import annotations

from solders.signature import Signature

from app.chain.devchain.records import Landed
from tests.unit.chain.devchain.chains import ALICE, BOB, SOL, manual, paying


def numbers(landed: list[Landed], sent: list[Landed]) -> list[int]:
    return [sent.index(one) for one in landed]


def test_pages_are_cut_between_before_and_until_newest_first() -> None:
    chain = manual()
    sent = []
    for number in range(6):
        sent.append(chain.send(paying(chain, SOL + number)))
        if number % 2:
            chain.advance()
    page, tip = chain.history.page, chain.slot
    key, signature = BOB.pubkey(), [one.signature for one in sent]
    assert numbers(page(key, tip, None, None, 1000), sent) == [5, 4, 3, 2, 1, 0]
    assert numbers(page(key, tip, None, None, 2), sent) == [5, 4]
    assert numbers(page(key, tip, signature[4], None, 2), sent) == [3, 2]
    assert numbers(page(key, tip, None, signature[2], 1000), sent) == [5, 4, 3]
    assert numbers(page(key, tip, signature[5], signature[1], 2), sent) == [4, 3]
    assert numbers(page(key, tip, signature[1], signature[3], 9), sent) == []
    assert numbers(page(key, sent[2].slot - 1, None, None, 9), sent) == [1, 0]
    assert numbers(page(key, sent[2].slot - 1, signature[4], None, 9), sent) == []


def test_signatures_nobody_knows() -> None:
    chain = manual()
    sent = [chain.send(paying(chain))]
    unknown = Signature.new_unique()
    assert chain.history.page(BOB.pubkey(), chain.slot, unknown, None, 9) == []
    assert chain.history.page(BOB.pubkey(), chain.slot, None, unknown, 9) == sent


def test_before_may_be_of_another_address() -> None:
    chain = manual()
    first = chain.send(paying(chain))
    other = chain.send(paying(chain, to=ALICE.pubkey()))
    assert chain.history.page(BOB.pubkey(), chain.slot, other.signature, None, 9) == [first]
    assert chain.history.page(BOB.pubkey(), chain.slot, None, other.signature, 9) == []
