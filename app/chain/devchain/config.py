"""What a local chain is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from solders.pubkey import Pubkey

NODE_REGISTRY = "Fg6PaFpoGXkYsidMpWTK6W2BeZ7FEfcYkg476zPFsLnS"
JOB_RECEIPT = "Gx7UjBjVKHNqiQGPzWGVxQb8j4ZKN5cVx5TmPvRfZ8U"
PAYMENT_SPLITTER = "BYqBB45Xdz445b4R1pwzkgvpNqqH7ZV4iiuLi2NLPHay"
"""Stands in for the splitter, whose published id is no key."""

PACKET_BYTES = 1232
"""The most a serialized transaction may have: IPv6's minimal MTU less headers."""

BLOCKHASH_BLOCKS = 150
"""For how many blocks a blockhash is good (MAX_PROCESSING_AGE)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainConfig:
    """Depths are slots behind the tip, the block that transactions still go into.

    ``slot_ms``: length of a slot when served; 0 leaves the advance to ``DevChain.advance`` and the clock of the chain
    to its slots, 400 ms each. ``confirm_depth`` >= 1, ``finalize_depth`` >= ``confirm_depth``. ``programs``: ELF by
    program id, None for the emitter. ``archive``: skipped slots answer -32009, as a node with long-term storage does,
    instead of -32007. ``seed``: of blockhashes and of the faucet's key; the same seed and calls give the same chain.
    """

    slot_ms: int = 400
    confirm_depth: int = 1
    finalize_depth: int = 31
    programs: Mapping[str, bytes | None] = field(
        default_factory=lambda: {NODE_REGISTRY: None, JOB_RECEIPT: None, PAYMENT_SPLITTER: None}
    )
    archive: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.slot_ms < 0:
            raise ValueError("slot_ms must be at least 0")
        if not 1 <= self.confirm_depth <= self.finalize_depth:
            raise ValueError("depths must be 1 <= confirm_depth <= finalize_depth")
        for program in self.programs:
            try:
                Pubkey.from_string(program)
            except ValueError as error:
                raise ValueError(f"not a program id (32 bytes in base58): {program}") from error
