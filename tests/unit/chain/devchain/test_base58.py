from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from app.chain.base58 import decode
from app.chain.devchain.base58 import encode


@given(st.binary(max_size=400))
def test_what_is_written_reads_back(data: bytes) -> None:
    assert decode(encode(data)) == data


@given(st.binary(min_size=32, max_size=32))
def test_keys_are_written_as_solders_does(data: bytes) -> None:
    assert encode(data) == str(Pubkey.from_bytes(data))


def test_zeros_in_front_are_kept() -> None:
    assert (encode(b""), encode(b"\0"), encode(b"\0\0\1")) == ("", "1", "112")
