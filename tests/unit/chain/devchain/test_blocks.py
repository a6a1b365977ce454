from __future__ import annotations

from solders.hash import Hash

from app.chain.devchain.blocks import BlockLog, Commitment
from app.chain.devchain.config import ChainConfig


def log(**settings: int) -> BlockLog:
    return BlockLog(ChainConfig(**{"finalize_depth": 4, **settings}), 1000)  # type: ignore[arg-type]


def advance(blocks: BlockLog, slots: int = 1) -> None:
    for _ in range(slots):
        blocks.close(1000)


def test_commitments_are_depths_below_the_tip() -> None:
    blocks = log(confirm_depth=2)
    advance(blocks, 9)
    assert [blocks.at(level) for level in Commitment] == [10, 8, 6]
    assert [blocks.at(level, lag=3) for level in Commitment] == [7, 5, 3]
    assert [blocks.at(level, lag=50) for level in Commitment] == [0, 0, 0]


def test_a_commitment_is_never_a_skipped_slot() -> None:
    blocks = log()
    advance(blocks, 4)
    blocks.close(1000, skip=3)
    assert blocks.tip == 9
    assert [blocks.at(level) for level in Commitment] == [9, 5, 5]
    assert blocks.get(7) is None
    assert blocks.between(4, 9) == [4, 5]


def test_blocks_are_chained_over_skipped_slots() -> None:
    blocks = log()
    first = blocks.close(1000, skip=2)
    second = blocks.close(1001)
    assert (second.parent, second.previous, second.height) == (first.slot, first.blockhash, first.height + 1)
    assert second.blockhash != first.blockhash


def test_block_times_do_not_go_back() -> None:
    blocks = log()
    blocks.close(2000)
    assert blocks.close(1500).time == 2000
    assert blocks.open.time == 2000


def test_hashes_are_recent_for_150_blocks() -> None:
    blocks = log()
    made = blocks.close(1000).blockhash
    advance(blocks, 149)
    assert blocks.is_recent(made)
    advance(blocks)
    assert not blocks.is_recent(made)
    assert not blocks.is_recent(Hash.default())


def test_abandoned_slots_are_skipped_and_their_hashes_forgotten() -> None:
    blocks = log()
    advance(blocks, 5)
    lost = blocks.last.blockhash
    abandoned = blocks.roll_back(3, 1000)
    assert [block.slot for block in abandoned] == [4, 5, 6]
    assert (blocks.tip, blocks.open.parent, blocks.last.slot) == (7, 3, 3)
    assert not blocks.is_recent(lost)
    advance(blocks)
    assert blocks.between(0, 9) == [0, 1, 2, 3, 7]


def test_a_slot_on_another_fork_has_another_hash() -> None:
    one, other = log(), log()
    advance(one, 3)
    advance(other, 3)
    other.roll_back(2, 1000)
    one.close(1000)
    one.close(1000)
    other.close(1000)
    assert one.last.slot == other.last.slot == 5
    assert one.last.blockhash != other.last.blockhash
