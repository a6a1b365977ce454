"""Base58 (Bitcoin's alphabet) of data of any length; keys and signatures have solders' own."""

from __future__ import annotations

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {letter: value for value, letter in enumerate(_ALPHABET)}
_PAIRS = {a + b: 58 * _DIGITS[a] + _DIGITS[b] for a in _ALPHABET for b in _ALPHABET}
# Ten letters are the most that fit a machine word: the long number is multiplied once for ten, not ten times.
_STEP = 58**10
MAX_LETTERS = 16_384
"""More than an instruction's data (10 KiB) can need. The work grows with the square of the length."""


def decode(text: str) -> bytes:
    """The bytes of ``text``. Raises ValueError for letters that are none, and for more than MAX_LETTERS."""
    if len(text) > MAX_LETTERS:
        raise ValueError(f"{len(text)} letters of base58 are too many")
    head = len(text) % 10
    pairs = _PAIRS
    number = 0
    try:
        for letter in text[:head]:
            number = number * 58 + _DIGITS[letter]
        for at in range(head, len(text), 10):
            part = (pairs[text[at : at + 2]] * 3364 + pairs[text[at + 2 : at + 4]]) * 3364 + pairs[
                text[at + 4 : at + 6]
            ]
            part = (part * 3364 + pairs[text[at + 6 : at + 8]]) * 3364 + pairs[text[at + 8 : at + 10]]
            number = number * _STEP + part
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is not base58") from None
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
