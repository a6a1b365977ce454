"""app.chain.borsh, through ProgramDecoder, which gives its errors their reasons."""

from __future__ import annotations

import math
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from app.chain.borsh import MAX_DEPTH
from app.chain.decode import DecodeError, ProgramDecoder
from app.chain.schema import IdlError
from app.chain.shapes import SIZES, Array, Defined, Enum, Idl, Item, Option, Primitive, Struct, Type, Vec
from tests.support.borsh import encode

TAG = b"12345678"


def idl_of(type_: Type, **types: Type) -> Idl:
    return Idl("i", "", types, (Item("E", TAG, type_),), (), ())


def decode(type_: Type, raw: bytes, **types: Type) -> Any:
    return ProgramDecoder("p", idl_of(type_, **types)).event(TAG + raw)[1]


def reason(type_: Type, raw: bytes, **types: Type) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(type_, raw, **types)
    return caught.value.reason


def p(name: str) -> Primitive:
    return Primitive(name)


KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("type_", "raw", "value"),
    [
        (p("bool"), b"\0", False),
        (p("bool"), b"\1", True),
        (p("u8"), b"\xff", 255),
        (p("i8"), b"\xff", -1),
        (p("u16"), b"\1\2", 513),
        (p("i16"), b"\0\x80", -32768),
        (p("u32"), b"\xff" * 4, 2**32 - 1),
        (p("i32"), b"\xfe\xff\xff\xff", -2),
        (p("u64"), b"\xff" * 8, 2**64 - 1),
        (p("i64"), b"\0" * 7 + b"\x80", -(2**63)),
        (p("u128"), b"\xff" * 16, 2**128 - 1),
        (p("u128"), b"\0" * 8 + b"\1" + b"\0" * 7, 2**64),
        (p("i128"), b"\xff" * 16, -1),
        (p("i128"), b"\1" + b"\xff" * 15, -255),
        (p("u256"), b"\xff" * 32, 2**256 - 1),
        (p("i256"), b"\0" * 31 + b"\x80", -(2**255)),
        (p("f32"), pack("<f", 1.5), 1.5),
        (p("f64"), pack("<d", -math.inf), -math.inf),
        (p("string"), b"\4\0\0\0\xf0\x9f\x9a\x80", "🚀"),
        (p("string"), b"\0\0\0\0", ""),
        (p("string"), b"\1\0\0\0\0", "\0"),
        (p("bytes"), b"\2\0\0\0\xff\xfe", b"\xff\xfe"),
        (p("pubkey"), KEY, str(Pubkey(KEY))),
        (Option(p("u8")), b"\0", None),
        (Option(p("u8")), b"\1\7", 7),
        (Option(Option(p("u8"))), b"\1\0", None),
        (Option(p("u16"), wide=True), b"\0\0\0\0\7\7", None),
        (Option(p("u16"), wide=True), b"\1\0\0\0\7\0", 7),
        (Vec(p("u8")), b"\2\0\0\0\1\2", [1, 2]),
        (Vec(p("u16")), b"\2\0\0\0\1\0\2\0", [1, 2]),
        (Vec(p("bool")), b"\2\0\0\0\1\0", [True, False]),
        (Vec(p("f32")), b"\1\0\0\0" + pack("<f", 0.5), [0.5]),
        (Vec(p("pubkey")), b"\1\0\0\0" + KEY, [str(Pubkey(KEY))]),
        (Vec(Vec(p("u8"))), b"\2\0\0\0\0\0\0\0\1\0\0\0\5", [[], [5]]),
        (Vec(Struct(None, (p("string"), p("u8")))), b"\1\0\0\0\1\0\0\0a\2", [["a", 2]]),
        (Array(p("u8"), 3), b"\1\2\3", [1, 2, 3]),
        (Array(p("u8"), 0), b"", []),
        (Array(p("u32"), 2), b"\1\0\0\0\2\0\0\0", [1, 2]),
        (Array(p("u16"), 100), b"\1\0" * 100, [1] * 100),
        (Array(p("string"), 2), b"\1\0\0\0a\0\0\0\0", ["a", ""]),
        (Struct((), ()), b"", {}),
        (Struct(None, (p("u8"), p("u16"))), b"\1\2\0", [1, 2]),
        (Struct(("a", "it's"), (p("u8"), p("string"))), b"\1\0\0\0\0", {"a": 1, "it's": ""}),
        (Enum((("A", Struct((), ())), ("B", Struct((), ())))), b"\1", {"B": {}}),
        (Enum((("A", Struct((), ())), ("B", Struct(None, (p("u8"),))))), b"\0", {"A": {}}),
        (Enum((("A", Struct((), ())), ("B", Struct(None, (p("u8"),))))), b"\1\7", {"B": [7]}),
        (Enum((("A", Struct(("x",), (p("u8"),))),)), b"\0\7", {"A": {"x": 7}}),
    ],
)
def test_values(type_: Type, raw: bytes, value: Any) -> None:
    assert decode(type_, raw) == value
    # In the middle of others it is the same, whatever run of fields it becomes a part of.
    around = Struct(("before", "it", "after"), (p("u8"), type_, p("u8")))
    assert decode(around, b"\1" + raw + b"\2") == {"before": 1, "it": value, "after": 2}
    assert reason(around, b"\1" + raw) == "short"


@pytest.mark.parametrize(
    ("type_", "raw", "expected"),
    [
        (p("u8"), b"", "short"),
        (p("u64"), b"\0" * 7, "short"),
        (p("u8"), b"\1\0", "trailing_bytes"),
        (p("bool"), b"\2", "invalid_value"),
        (p("f32"), pack("<f", math.nan), "invalid_value"),
        (p("f64"), pack("<d", math.nan), "invalid_value"),
        (p("string"), b"\1\0\0\0", "short"),
        (p("string"), b"\xff\xff\xff\xffaaaa", "short"),
        (p("string"), b"\1\0\0\0\xff", "invalid_value"),
        (p("string"), b"\3\0\0\0\xed\xa0\x80", "invalid_value"),  # a lone surrogate
        (p("bytes"), b"\xff\xff\xff\x7f", "short"),
        (Option(p("u8")), b"\2\0", "invalid_value"),
        (Option(p("u16"), wide=True), b"\0\0\0\0\7", "short"),
        (Option(p("u16"), wide=True), b"\2\0\0\0\7\0", "invalid_value"),
        (Vec(p("u8")), b"\xff\xff\xff\xff", "short"),
        (Vec(p("u64")), b"\xff\xff\xff\xff" + b"\0" * 64, "short"),
        (Vec(p("bool")), b"\xff\xff\xff\xff" + b"\0" * 64, "short"),
        (Vec(p("string")), b"\xff\xff\xff\xff" + b"\0" * 64, "short"),
        (Vec(p("bool")), b"\2\0\0\0\1\2", "invalid_value"),
        (Array(p("u16"), 100), b"\1\0" * 99, "short"),
        (Enum((("A", Struct((), ())), ("B", Struct((), ())))), b"\2", "invalid_value"),
        (Enum((("A", Struct(("x",), (p("u8"),))),)), b"\1", "invalid_value"),
        (Enum(()), b"\0", "invalid_value"),
    ],
)
def test_what_is_refused(type_: Type, raw: bytes, expected: str) -> None:
    assert reason(type_, raw) == expected


LIST = {"List": Struct(("value", "next"), (p("u8"), Option(Defined("List"))))}


def test_a_type_that_holds_itself() -> None:
    assert decode(Defined("List"), b"\1\1\2\0", **LIST) == {"value": 1, "next": {"value": 2, "next": None}}
    tree = {"Tree": Struct(("kids",), (Vec(Defined("Tree")),))}
    assert decode(Defined("Tree"), b"\2\0\0\0" + b"\0" * 8, **tree) == {"kids": [{"kids": []}, {"kids": []}]}


def test_a_value_nested_too_deep_is_refused() -> None:
    fits = b"\0\1" * MAX_DEPTH + b"\0\0"
    assert decode(Defined("List"), fits, **LIST)["value"] == 0
    assert reason(Defined("List"), b"\0\1" * 100_000 + b"\0\0", **LIST) == "invalid_value"
    assert reason(Defined("Loop"), b"", Loop=Struct(("a", "b"), (Defined("Loop"), Defined("Loop")))) == "invalid_value"
    assert reason(Defined("A"), b"", A=Defined("B"), B=Defined("A")) == "invalid_value"


def test_many_named_types_do_not_multiply() -> None:
    types: dict[str, Type] = {f"T{n}": Struct(None, (Defined(f"T{n + 1}"),) * 2) for n in range(40)}
    types["T40"] = Struct(None, ())
    ProgramDecoder("p", idl_of(Defined("T0"), **types))
    small: dict[str, Type] = {f"T{n}": Struct(None, (Defined(f"T{n + 1}"),) * 2) for n in range(12)}
    small["T12"] = p("u8")
    value = decode(Defined("T0"), bytes(4096), **small)
    for _ in range(12):
        assert len(value) == 2
        value = value[1]
    assert value == 0


def test_nesting_is_no_matter_for_the_compiler() -> None:
    type_: Type = p("u8")
    raw = b"\7"
    for _ in range(30):
        type_ = Vec(Option(type_))
        raw = b"\1\0\0\0\1" + raw
    value = decode(type_, raw)
    for _ in range(30):
        (value,) = value
    assert value == 7


@pytest.mark.parametrize(
    "type_",
    [Vec(Struct((), ())), Vec(Array(p("u8"), 0)), Array(Struct((), ()), 3), Option(p("string"), wide=True)],
)
def test_what_cannot_be_compiled(type_: Type) -> None:
    with pytest.raises(IdlError):
        ProgramDecoder("p", idl_of(type_))


NAMES: dict[str, Type] = {
    "Pair": Struct(None, (p("u8"), p("string"))),
    "Unit": Enum((("A", Struct((), ())), ("B", Struct((), ())))),
    "Mixed": Enum((("A", Struct((), ())), ("B", Struct(("x", "y"), (p("u64"), Option(p("bool"))))))),
    "List": LIST["List"],
}
TYPES = st.recursive(
    st.sampled_from([p(name) for name in (*SIZES, "string", "bytes")] + [Defined(name) for name in NAMES]),
    lambda inner: (
        # An option in an option has two ways to be None.
        st.builds(Option, inner.filter(lambda one: not isinstance(one, Option)))
        | st.builds(Vec, inner)
        | st.builds(Array, inner, st.integers(0, 20))
        | st.builds(lambda types: Struct(None, tuple(types)), st.lists(inner, min_size=1, max_size=4))
        | st.builds(
            lambda types: Struct(tuple(f"f{n}" for n in range(len(types))), tuple(types)),
            st.lists(inner, min_size=1, max_size=4),
        )
    ),
    max_leaves=8,
)


def values(type_: Type, depth: int = 0) -> st.SearchStrategy[Any]:
    match type_:
        case Primitive("bool"):
            return st.booleans()
        case Primitive("string"):
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
        case Primitive("bytes"):
            return st.binary(max_size=8)
        case Primitive("pubkey"):
            return st.binary(min_size=32, max_size=32).map(lambda raw: str(Pubkey(raw)))
        case Primitive("f32" | "f64" as name):
            return st.floats(allow_nan=False, width=32 if name == "f32" else 64)
        case Primitive(name):
            bits = 8 * SIZES[name]
            return (
                st.integers(0, 2**bits - 1) if name[0] == "u" else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            )
        case Defined(key):
            return values(NAMES[key], depth + 1)
        case Option(inner):
            return st.none() if depth > 4 else st.none() | values(inner, depth + 1)
        case Vec(inner):
            return st.lists(values(inner, depth + 1), max_size=3)
        case Array(inner, length):
            return st.lists(values(inner, depth + 1), min_size=length, max_size=length)
        case Struct(names, types):
            parts = [values(one, depth) for one in types]
            if names is None:
                return st.tuples(*parts).map(list)
            return st.fixed_dictionaries(dict(zip(names, parts, strict=True)))
        case Enum(variants):
            return st.one_of(*(st.fixed_dictionaries({name: values(body, depth)}) for name, body in variants))


def compiled(type_: Type) -> ProgramDecoder | None:
    try:
        return ProgramDecoder("p", idl_of(type_, **NAMES))
    except IdlError:
        return None


@given(st.data())
def test_what_is_written_is_read(data: st.DataObject) -> None:
    type_ = data.draw(TYPES)
    decoder = compiled(type_)
    if decoder is None:
        return
    value = data.draw(values(type_))
    raw = TAG + encode(idl_of(type_, **NAMES), type_, value)
    assert decoder.event(raw) == ("E", value)
    cut = data.draw(st.integers(0, len(raw)))
    for other in (raw[:cut], raw + b"\0"):
        if other != raw:
            with pytest.raises(DecodeError) as caught:
                decoder.event(other)
            assert caught.value.reason in ("short", "trailing_bytes", "invalid_value")


@given(TYPES, st.binary(max_size=80))
def test_nothing_but_a_decode_error_comes_of_junk(type_: Type, junk: bytes) -> None:
    decoder = compiled(type_)
    if decoder is None:
        return
    try:
        _, value = decoder.event(TAG + junk)
    except DecodeError:
        return
    # What was read is all that was there.
    assert encode(idl_of(type_, **NAMES), type_, value) == junk
