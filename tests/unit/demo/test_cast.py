from __future__ import annotations

from collections import Counter

import pytest

from app.chain.devchain import ChainConfig, DevChain
from app.demo.cast import Cast
from app.demo.onchain import CreateJob, EndJob, NodeOnChain, Pay, operator_wallet

PRICE = 1_000_000_099
NODE = NodeOnChain("gpu-1", "EU", 5 * 10**9, 700, 40)


@pytest.fixture
def cast() -> Cast:
    cast = Cast(DevChain(ChainConfig(slot_ms=0, finalize_depth=6)), clients=2)
    cast.register([NODE])
    return cast


def job(name: str, client: int = 0, price: int = PRICE) -> CreateJob:
    return CreateJob(name, client, 5, price, "ab" * 32)


def test_nodes_stand_on_chain_as_in_the_trace(cast: Cast) -> None:
    owner = cast.network.wallet("operator of gpu-1").pubkey()
    assert str(owner) == operator_wallet("gpu-1")
    account = cast.chain.account(cast.network.node_address(owner, "gpu-1"))
    assert account is not None
    assert (5 * 10**9).to_bytes(8, "little") + (700).to_bytes(2, "little") + (40).to_bytes(8, "little") in account.data


def test_the_ledger_has_what_was_done(cast: Cast) -> None:
    cast.create(job("right", price=PRICE - 99))
    cast.create(job("nobody", client=1))
    cast.end(EndJob("right", 0, "gpu-1", Pay.RIGHT, processed=True))
    cast.end(EndJob("nobody", 1))
    assert not cast.status().settled
    assert cast.ledger().events == []
    cast.chain.advance(7)
    assert cast.status().settled
    ledger = cast.ledger()
    assert Counter(event.name for event in ledger.events) == {
        "NodeRegistered": 1,
        "JobCreatedEvent": 2,
        "JobAssignedEvent": 1,
        "JobCompletedEvent": 1,
        "PaymentDistributedEvent": 1,
        "PaymentProcessedEvent": 1,
        "JobCancelledEvent": 1,
    }
    assert len(ledger.events) == cast.status().events
    paid = [event.amounts for event in ledger.events if event.amounts]
    assert paid == [(800_000_000, 100_000_000, 50_000_000), (10**9, 800_000_000, 100_000_000, 50_000_000, 50_000_000)]
    assert sum(ledger.held.values()) == 10**9
    assert ledger.held[operator_wallet("gpu-1")] == 800_000_000


@pytest.mark.parametrize(
    ("pay", "operator", "others"),
    [
        # 80, and 10, 5 and 5 of a hundred, each rounded down.
        (Pay.RIGHT, 800_000_079, 200_000_017),
        (Pay.FAKE_MINT, 0, 0),
        (Pay.SHORT, 400_000_039, 100_000_008),
        (Pay.NO_TRANSFER, 0, 0),
        (Pay.STRANGER, 0, 1_000_000_096),
    ],
)
def test_wallets_hold_what_was_really_paid(cast: Cast, pay: Pay, operator: int, others: int) -> None:
    cast.create(job("j"))
    cast.end(EndJob("j", 0, "gpu-1", pay))
    cast.chain.advance(7)
    held = cast.ledger().held
    mine = held.pop(operator_wallet("gpu-1"), 0)
    assert (mine, sum(held.values())) == (operator, others)


def test_orders_may_be_repeated(cast: Cast) -> None:
    created = cast.create(job("j"))
    assert cast.create(job("j")) == created
    for _ in range(2):
        cast.end(EndJob("j", 0, "gpu-1"))
    assert cast.status().events == 5


def test_a_fork_moves_everything_and_loses_nothing(cast: Cast) -> None:
    cast.chain.advance(7)
    cast.create(job("j"))
    cast.chain.advance()
    cast.end(EndJob("j", 0, "gpu-1"))
    cast.chain.advance()
    before = cast.chain.slot
    assert cast.fork(3) > 3
    cast.chain.advance(7)
    ledger = cast.ledger()
    moved = [event.slot for event in ledger.events if event.name != "NodeRegistered"]
    assert len(moved) == 4 and min(moved) > before
    assert ledger.held[operator_wallet("gpu-1")] == 800_000_079
