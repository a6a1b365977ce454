"""Listing a program's signatures from the tip down, page by page: what is new in it, and how far it has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.chain.reader import Entry
from app.chain.rpc.records import SignatureInfo


class Known:
    """What a scanner has read lately, ``signature → slot``, for as long as a listing may show it again.

    ``holes``: where listings had an entry that could not be read, see ``hole``.
    """

    def __init__(self) -> None:
        self.holes: set[str] = set()
        self._slots: dict[str, int] = {}
        self._order: deque[Entry] = deque()
        self._below: deque[str] = deque(maxlen=2)

    def __contains__(self, signature: str) -> bool:
        return signature in self._slots

    def has(self, signature: str, slot: int) -> bool:
        """Whether it was read as of this slot: in another one it has landed again."""
        return self._slots.get(signature) == slot

    def remember(self, read: Mapping[str, int], floor: int) -> None:
        """Take these for known, and let go of what no listing down to ``floor`` shows."""
        self._slots.update(read)
        self._order.extend(read.items())
        while self._order and self._order[0][1] < floor:
            signature, slot = self._order.popleft()
            if self._slots.get(signature) == slot:
                del self._slots[signature]
            self._below.append(signature)

    def forget(self, signatures: Iterable[str]) -> None:
        """Take these for unknown."""
        for signature in signatures:
            self._slots.pop(signature, None)

    def clear(self) -> None:
        self._slots.clear()
        self._order.clear()
        self._below.clear()

    @property
    def anchor(self) -> str:
        """A known signature below the floor with another known one above it: a listing down to it reaches the floor,
        and shows that it does. "" while there is none."""
        return self._below[0] if len(self._below) > 1 else ""


def hole(after: str) -> str:
    """What stands for the signature of an entry that has none: it comes behind ``after``, "" for the tip."""
    return f"after {after or 'the tip'}"[:88]


@dataclass(slots=True)
class Listing:
    """A listing under way, which goes down to the slot ``floor``.

    ``entries``: what has to be read, newest first. ``failed``: what failed, as far as it may be listed again.
    ``malformed``: what is wrong with entries without a signature, by ``hole``; ``mended``: former ones. ``newest``: of
    all that is listed. ``before``, ``oldest``: how far it has come. ``complete``: it has reached the floor, or the end.
    """

    floor: int
    cursor_slot: int
    overlap: int
    before: str = ""
    oldest: int | None = None
    newest: Entry | None = None
    entries: list[Entry] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    malformed: dict[str, str] = field(default_factory=dict)
    mended: list[str] = field(default_factory=list)
    complete: bool = False
    _spare: int = 2
    _in_oldest: set[str] = field(default_factory=set)

    @property
    def reached(self) -> bool:
        """Whether it shows anything at or before the cursor, so that there is no hole between them."""
        return self.oldest is not None and self.oldest <= self.cursor_slot

    def add(self, page: Sequence[SignatureInfo], limit: int, known: Known) -> None:
        """Take in the next page, of at most ``limit``."""
        whole: tuple[str, int, int, set[str]] | None = None
        begun = False
        news = 0
        for one in page:
            if not one.signature:
                self.malformed[hole(self.before)] = one.malformed
                continue
            if known.holes and hole(self.before) in known.holes and hole(self.before) not in self.malformed:
                self.mended.append(hole(self.before))
            if one.slot < 0:
                # Read all the same: the transaction says its slot. The listing's own way goes by the others.
                self.before = one.signature
                self.entries.append((one.signature, self.cursor_slot if self.oldest is None else self.oldest))
                continue
            if one.slot < self.floor:
                self.before, self.oldest, self.complete = one.signature, one.slot, True
                return
            if one.slot != self.oldest:
                if begun and self.oldest is not None:
                    whole = (self.before, self.oldest, len(self.entries), self._in_oldest)
                self._in_oldest = set()
            begun = True
            self.before, self.oldest = one.signature, one.slot
            self.newest = self.newest or (one.signature, one.slot)
            if one.signature in self._in_oldest:
                continue
            self._in_oldest.add(one.signature)
            news += 1
            if one.failed:
                self._failed(one)
            elif not known.has(one.signature, one.slot):
                self.entries.append((one.signature, one.slot))
        if len(page) >= limit and whole is not None:
            # Nodes differ in the order within a slot: one that the page may have cut is listed as a whole.
            self.before, self.oldest, count, self._in_oldest = whole
            del self.entries[count:]
        # Where nodes differ in that order, there may always be something behind the last one: but never anything new.
        self.complete = not news and len(page) < limit and not any(one.slot < 0 for one in page)

    def rest(self) -> Listing:
        """The listing from here on, without what is listed."""
        rest = Listing(self.floor, self.cursor_slot, self.overlap, self.before, self.oldest)
        rest._in_oldest = self._in_oldest
        return rest

    def _failed(self, one: SignatureInfo) -> None:
        """It left nothing but its fee; should it land again and succeed, then in another slot. What is kept are
        anchors for later listings: a flood of them must not fill the memory."""
        assert self.newest is not None
        below = one.slot < self.newest[1] - self.overlap
        if below and not self._spare:
            return
        self._spare -= below
        self.failed[one.signature] = one.slot
