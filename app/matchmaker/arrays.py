"""Names of the array types that the package works with, and small codes for strings that repeat."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Mask: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
SmallInts: TypeAlias = NDArray[np.int32]
Scores: TypeAlias = NDArray[np.signedinteger[Any]]
"""0..SCALE, in 32 or 64 bits."""
Words: TypeAlias = NDArray[np.uint64]
SmallWords: TypeAlias = NDArray[np.uint32]
Positions: TypeAlias = NDArray[np.intp]


class Codes:
    """Small integers for strings that repeat. A code stays for good: names are few, nodes are many."""

    __slots__ = ("_codes", "names")

    def __init__(self) -> None:
        self.names: list[str] = []
        self._codes: dict[str, int] = {}

    def code(self, name: str) -> int:
        """The name's code, a new one for a new name."""
        code = self._codes.get(name)
        if code is None:
            code = self._codes[name] = len(self.names)
            self.names.append(name)
        return code

    def find(self, name: str) -> int | None:
        """The name's code, or None when no node ever had that name."""
        return self._codes.get(name)
