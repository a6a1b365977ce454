"""Base58 of data of any length, written; reading is ``app.chain.base58``'s. Keys and signatures have solders' own."""

from __future__ import annotations

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
# Digits are cut off ten at a time: one division of the long number instead of ten.
_CHUNK = 58**10


def encode(data: bytes) -> str:
    """The base58 text of ``data``; leading zero bytes become leading ``1``."""
    number = int.from_bytes(data, "big")
    zeros = len(data) - len(data.lstrip(b"\0"))
    chunks: list[int] = []
    while number:
        number, low = divmod(number, _CHUNK)
        chunks.append(low)
    text = ""
    for low in reversed(chunks):
        pairs = []
        for _ in range(5):
            low, pair = divmod(low, 3364)
            pairs.append(_PAIRS[pair])
        pairs.reverse()
        text += "".join(pairs)
    return "1" * zeros + text.lstrip("1")
