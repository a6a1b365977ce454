"""The log of blocks: slots and the skipped ones among them, blockhashes, commitment levels."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey

from app.chain.devchain.config import BLOCKHASH_BLOCKS, ChainConfig
from app.chain.devchain.records import Landed


class Commitment(StrEnum):
    PROCESSED = "processed"
    CONFIRMED = "confirmed"
    FINALIZED = "finalized"


@dataclass(frozen=True, slots=True)
class Put:
    """An account set by hand, ``after`` so many transactions of its block."""

    after: int
    key: Pubkey
    account: Account


@dataclass(slots=True)
class Block:
    """``time``: Unix seconds. ``blockhash``: known once the block is closed; the open one has its parent's."""

    slot: int
    parent: int
    height: int
    time: int
    previous: Hash
    blockhash: Hash
    landed: list[Landed] = field(default_factory=list)
    puts: list[Put] = field(default_factory=list)


def in_order(blocks: list[Block]) -> Iterator[Put | Landed]:
    """All that changed accounts in these blocks, in the order in which it did."""
    for block in blocks:
        puts = iter(block.puts)
        put = next(puts, None)
        for number, landed in enumerate(block.landed):
            while put is not None and put.after <= number:
                yield put
                put = next(puts, None)
            yield landed
        while put is not None:
            yield put
            put = next(puts, None)


class BlockLog:
    """Closed blocks and the open one at the tip. Slots without a block were skipped."""

    def __init__(self, config: ChainConfig, time: int) -> None:
        self.config = config
        self._forks = 0
        genesis_hash = self._hash(0)
        genesis = Block(0, 0, 0, time, Hash.default(), genesis_hash)
        self.genesis_hash = genesis_hash
        self._blocks = {0: genesis}
        self._slots = [0]
        self._heights = {genesis_hash: 0}
        self.open = self._next(1, time)

    @property
    def tip(self) -> int:
        """The open block's slot."""
        return self.open.slot

    @property
    def last(self) -> Block:
        """The last closed block."""
        return self._blocks[self._slots[-1]]

    def at(self, commitment: Commitment, lag: int = 0) -> int:
        """The newest slot with a block at ``commitment``, as a node sees it that is ``lag`` slots behind."""
        tip = max(self.tip - lag, 0)
        if commitment is Commitment.PROCESSED:
            return tip if tip == self.tip else self.newest(tip)
        depth = self.config.confirm_depth if commitment is Commitment.CONFIRMED else self.config.finalize_depth
        return self.newest(max(tip - depth, 0))

    def newest(self, slot: int) -> int:
        """The newest slot at or below ``slot`` with a closed block."""
        return self._slots[bisect_right(self._slots, slot) - 1]

    def get(self, slot: int) -> Block | None:
        """The block of ``slot``, the open one included; None for a skipped or future slot."""
        return self.open if slot == self.tip else self._blocks.get(slot)

    def between(self, first: int, last: int) -> list[int]:
        """Slots from ``first`` to ``last`` with closed blocks."""
        return self._slots[bisect_left(self._slots, first) : bisect_right(self._slots, last)]

    def recent_hashes(self) -> Iterator[tuple[int, Hash]]:
        """Slots and hashes of closed blocks, newest first."""
        for slot in reversed(self._slots[-BLOCKHASH_BLOCKS:]):
            yield slot, self._blocks[slot].blockhash

    def is_recent(self, blockhash: Hash, height: int | None = None) -> bool:
        """Whether a block of ``height`` (the open one's) takes transactions with ``blockhash``."""
        made = self._heights.get(blockhash)
        if made is None:
            return False
        return 0 <= (self.open.height if height is None else height) - made <= BLOCKHASH_BLOCKS

    def close(self, time: int, skip: int = 0) -> Block:
        """Close the open block and open the next, ``skip`` slots further on. Answers the closed block."""
        closed = self.open
        closed.blockhash = self._hash(closed.slot)
        self._blocks[closed.slot] = closed
        self._slots.append(closed.slot)
        self._heights[closed.blockhash] = closed.height
        old = len(self._slots) - 2 * BLOCKHASH_BLOCKS
        if old >= 0:
            self._heights.pop(self._blocks[self._slots[old]].blockhash, None)
        self.open = self._next(closed.slot + 1 + skip, time)
        return closed

    def roll_back(self, to: int, time: int) -> list[Block]:
        """Abandon all blocks after slot ``to``; their slots count as skipped. Answers them, oldest first."""
        tip, keep = self.tip, bisect_right(self._slots, to)
        abandoned = [self._blocks.pop(slot) for slot in self._slots[keep:]]
        del self._slots[keep:]
        for block in abandoned:
            self._heights.pop(block.blockhash, None)
        abandoned.append(self.open)
        self._forks += 1
        self.open = self._next(tip + 1, time)
        return abandoned

    def _next(self, slot: int, time: int) -> Block:
        parent = self._blocks[self._slots[-1]]
        return Block(slot, parent.slot, parent.height + 1, max(time, parent.time), parent.blockhash, parent.blockhash)

    def _hash(self, slot: int) -> Hash:
        return Hash(hashlib.sha256(f"devchain {self.config.seed} {self._forks} {slot}".encode()).digest())
