"""What can come of what is asked of a chain, and who is told of what happens on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from solders.signature import Signature

from app.chain.devchain.blocks import Block, Commitment
from app.chain.devchain.config import PACKET_BYTES
from app.chain.devchain.records import Landed


class Rejected(Exception):
    """A transaction that did not land. ``err``: the TransactionError in the RPC's shape."""

    def __init__(self, err: Any) -> None:
        super().__init__(str(err))
        self.err = err


class TooLarge(ValueError):
    """A transaction of more bytes than a packet takes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"transaction too large: {size} bytes (max: {PACKET_BYTES} bytes)")
        self.size = size


class Observer(Protocol):
    """What is told of everything that happens, while it happens."""

    def on_slot(self, slot: int, parent: int, root: int) -> None:
        """A block has been opened."""

    def on_landed(self, landed: Landed) -> None:
        """A transaction is in the open block (processed)."""

    def on_block(self, commitment: Commitment, block: Block) -> None:
        """``block`` has become confirmed or finalized."""

    def on_processed(self, block: Block) -> None:
        """``block`` has been closed."""


@dataclass(frozen=True, slots=True)
class Fork:
    """``slot``: the last one both forks have. ``dropped``: never to land again, as far as the chain knows;
    ``reland``: signatures that land anew, at once or later.
    """

    slot: int
    dropped: list[Signature]
    reland: list[Signature]
