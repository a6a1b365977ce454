"""app.chain.base58"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from solders.signature import Signature

from app.chain.base58 import MAX_LETTERS, decode


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("", b""),
        ("1", b"\0"),
        ("111", b"\0\0\0"),
        ("2", b"\1"),
        ("z", b"\x39"),
        ("21", b"\x3a"),
        ("StV1DL6CwTryKyV", b"hello world"),
        ("11233QC4", bytes.fromhex("0000287fb4cd")),
    ],
)
def test_known_texts(text: str, raw: bytes) -> None:
    assert decode(text) == raw


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
def test_keys_and_signatures(key: bytes, signature: bytes) -> None:
    assert decode(str(Pubkey(key))) == key
    assert decode(str(Signature(signature))) == signature


@pytest.mark.parametrize("text", ["0", "O", "I", "l", " 2", "2\n", "é", "2" * 9 + "0" + "2" * 20, "+1", "-2", "2_2"])
def test_letters_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not base58"):
        decode(text)


def test_too_many_letters() -> None:
    assert len(decode("z" * MAX_LETTERS)) > 10 * 1024
    with pytest.raises(ValueError, match="too many"):
        decode("z" * (MAX_LETTERS + 1))
