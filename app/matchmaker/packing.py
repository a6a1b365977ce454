"""How a node's figures share two 64-bit words, so that a handful of operations filters a whole block.

The word ``have`` holds what a node has at least to match: fields side by side, each below a guard bit that is always
set. Subtracting a needle of the same layout leaves a field's guard set exactly where the field reaches the needle's
(Lamport 1975, "Multiple byte processing with full-word instructions"): one subtraction compares them all, and no borrow
crosses a guard. ``traits`` holds what is compared by bits: capabilities and region.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from app.core.requirements import Requirements
from app.core.states import NodeState


class Field:
    """Bits ``shift`` to ``shift + width - 1`` of a word; ``most`` is its greatest value, ``mask`` covers its bits."""

    __slots__ = ("mask", "most", "shift", "width")

    def __init__(self, shift: int, width: int) -> None:
        self.shift = shift
        self.width = width
        self.most = (1 << width) - 1
        self.mask = self.most << shift

    def of(self, word: int) -> int:
        return word >> self.shift & self.most


FREE: Final = Field(0, 7)
GPUS: Final = Field(8, 7)
VRAM: Final = Field(16, 11)
REPUTATION: Final = Field(28, 10)
LIVE: Final = Field(39, 1)
"""1 for a node that is online and not silent."""
COMPARED: Final = (FREE, GPUS, VRAM, REPUTATION, LIVE)
GUARD: Final = sum(1 << (field.shift + field.width) for field in COMPARED)
CAPACITY: Final = Field(41, 7)
ACTIVE: Final = Field(48, 7)
STATE: Final = Field(55, 3)

CAPABILITIES: Final = Field(0, 32)
REGION: Final = Field(32, 12)
PENALTY: Final = Field(44, 10)
TRIAL: Final = Field(54, 7)

STATES: Final = tuple(NodeState)
STATE_CODES: Final = {state: code for code, state in enumerate(STATES)}
ONLINE: Final = STATE_CODES[NodeState.ONLINE]
DEREGISTERED: Final = STATE_CODES[NodeState.DEREGISTERED]
VACANT: Final = STATE.most
"""State code of a slot that holds no node."""
EMPTY: Final = GUARD | VACANT << STATE.shift
"""The word ``have`` of such a slot."""


class Probe(NamedTuple):
    """A job's requirements in the words' layout. ``mask`` picks the bits of ``traits`` that must equal ``value``.

    ``capabilities`` and ``region`` (a code, None = any) are the same for a block's bounds. ``max_price`` None = any.
    ``slots``: free slots, and slots at all, that the job needs.
    """

    needle: int
    mask: int
    value: int
    capabilities: int
    region: int | None
    max_price: int | None
    slots: int

    def ever(self) -> Probe:
        """The same for a node in any state, whatever it has under way."""
        return self._replace(needle=self.needle & ~(FREE.mask | LIVE.mask))

    def live(self) -> Probe:
        """The same for a node that may be busy."""
        return self._replace(needle=self.needle & ~FREE.mask)


def probe_for(asked: Requirements, floor: int, region: int | None) -> Probe | None:
    """The probe of a job that may run anywhere in the network; None where no node can have what it asks.

    ``floor``: the network's least reputation. ``region``: the code of the asked region, ignored when none is asked.
    Models are no part of it: a block is of one model.
    """
    least = max(asked.min_reputation, floor, 0)
    vram, gpus = max(asked.min_vram_gb, 0), max(asked.gpus, 0)
    if gpus > GPUS.most or vram > VRAM.most or least > REPUTATION.most:
        return None
    if not 0 <= asked.capabilities <= CAPABILITIES.most or (asked.region and region is None):
        return None
    needle = gpus << FREE.shift | gpus << GPUS.shift | vram << VRAM.shift | least << REPUTATION.shift | LIVE.mask
    mask = value = asked.capabilities
    if not asked.region:
        region = None
    if region is not None:
        mask |= REGION.mask
        value |= region << REGION.shift
    return Probe(needle, mask, value, asked.capabilities, region, asked.max_price, gpus)


def fieldwise_max(one: int, other: int) -> int:
    """The greater of each compared field, guards set, the rest of the word 0."""
    word = GUARD
    for mask in _MASKS:
        word |= max(one & mask, other & mask)
    return word


_MASKS = tuple(field.mask for field in COMPARED)
