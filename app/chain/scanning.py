"""What the parts of a scan share: its limits, its figures, and the ways in which it stops early."""

from __future__ import annotations

from dataclasses import dataclass

from app.chain.rpc.client import PAGE


class Stalled(Exception):
    """The scan cannot go on for now; the message says why. The cursor stays where it is."""


class TakenBack(Stalled):
    """Somebody had the program read again from an earlier slot meanwhile: nothing is wrong, the next round does so."""

    def __init__(self) -> None:
        super().__init__("the program is to be read again from an earlier slot")


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """``chunk``: transactions read and committed at once. ``overlap_slots``: read again behind the cursor.

    ``start_slot``: how far back a first scan goes, 0 = to the program's first transaction. ``page``: signatures listed
    at once, 1000 at most.
    """

    chunk: int = 500
    overlap_slots: int = 64
    start_slot: int = 0
    page: int = PAGE


@dataclass(slots=True)
class Progress:
    """What a scanner did since it began: figures for people and tests."""

    listed: int = 0
    read: int = 0
    events: int = 0
    rounds: int = 0
