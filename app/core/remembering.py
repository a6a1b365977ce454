"""A memory of things that are long to work out, bounded by what they weigh."""

from __future__ import annotations

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Values by key, those of at most ``most`` weight in all; whichever was not asked for the longest goes first."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.weight = 0
        self._kept: dict[Key, tuple[Value, int]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Value | None:
        """The value, None when it is not remembered (any more)."""
        kept = self._kept.pop(key, None)
        if kept is None:
            return None
        # Dictionaries keep their order: the first is the one that was asked for longest ago.
        self._kept[key] = kept
        return kept[0]

    def put(self, key: Key, value: Value, weight: int) -> None:
        """Remember a value, at the cost of others; one that is too heavy by itself is not remembered."""
        self.weight -= self._kept.pop(key, (None, 0))[1]
        if weight > self.most:
            return
        self._kept[key] = value, weight
        self.weight += weight
        while self.weight > self.most:
            self.weight -= self._kept.pop(next(iter(self._kept)))[1]
