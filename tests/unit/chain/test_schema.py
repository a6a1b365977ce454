"""app.chain.schema"""

from __future__ import annotations

import contextlib
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chain.decode import ProgramDecoder
from app.chain.schema import IdlError, load
from app.chain.shapes import Array, Defined, Enum, Idl, Option, Primitive, Struct, Type, Vec


def with_type(raw: Any, **more: Any) -> dict[str, Any]:
    """An IDL with one event ``E`` with one field ``x``."""
    return {"events": [{"name": "E", "fields": [{"name": "x", "type": raw}]}], **more}


def field_type(document: dict[str, Any]) -> Type:
    body = load(document).events[0].type
    assert isinstance(body, Struct)
    return body.types[0]


def test_the_present_form() -> None:
    idl = load(
        {
            "address": "Gx7UjBjVKHNqiQGPzWGVxQb8j4ZKN5cVx5TmPvRfZ8U",
            "metadata": {"name": "jobs", "spec": "0.1.0"},
            "events": [{"name": "Paid", "discriminator": [1, 2, 3, 4, 5, 6, 7, 8]}],
            "accounts": [{"name": "Job", "discriminator": [8] * 8}],
            "instructions": [
                {
                    "name": "pay",
                    "discriminator": [9] * 8,
                    "accounts": [{"name": "payer"}, {"name": "both", "accounts": [{"name": "from"}, {"name": "to"}]}],
                    "args": [{"name": "amount", "type": "u64"}],
                }
            ],
            "types": [
                {"name": "Paid", "type": {"kind": "struct", "fields": [{"name": "to", "type": "pubkey"}]}},
                {"name": "Job", "type": {"kind": "struct"}},
            ],
        }
    )
    assert (idl.name, idl.address) == ("jobs", "Gx7UjBjVKHNqiQGPzWGVxQb8j4ZKN5cVx5TmPvRfZ8U")
    assert idl.events[0].discriminator == bytes(range(1, 9))
    assert idl.types["Paid"] == Struct(("to",), (Primitive("pubkey"),))
    assert idl.types["Job"] == Struct((), ())
    assert idl.instructions[0].accounts == ("payer", "from", "to")
    assert idl.instructions[0].type == Struct(("amount",), (Primitive("u64"),))


def test_the_legacy_form() -> None:
    idl = load(
        {
            "version": "0.1.0",
            "name": "jobs",
            "events": [{"name": "Paid", "fields": [{"name": "to", "type": "publicKey", "index": False}]}],
            "accounts": [{"name": "Job", "type": {"kind": "struct", "fields": [{"name": "id", "type": "string"}]}}],
            "instructions": [
                {
                    "name": "createJobV2",
                    "accounts": [{"name": "payer", "isMut": True, "isSigner": True}],
                    "args": [{"name": "kind", "type": {"defined": "Kind"}}],
                }
            ],
            "types": [{"name": "Kind", "type": {"kind": "enum", "variants": [{"name": "A"}, {"name": "B"}]}}],
        }
    )
    assert idl.address == ""
    assert idl.events[0].discriminator == sha256(b"event:Paid").digest()[:8]
    assert idl.events[0].type == Struct(("to",), (Primitive("pubkey"),))
    assert idl.accounts[0].discriminator == sha256(b"account:Job").digest()[:8]
    assert idl.instructions[0].discriminator == sha256(b"global:create_job_v2").digest()[:8]
    assert idl.types["Kind"] == Enum((("A", Struct((), ())), ("B", Struct((), ()))))


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("initialize", "initialize"),
        ("createJob", "create_job"),
        ("setIDLAddress", "set_idl_address"),
        ("swapV2", "swap_v2"),
        ("open2Jobs", "open2_jobs"),
        ("already_snake", "already_snake"),
        ("Pay", "pay"),
    ],
)
def test_legacy_instruction_names(name: str, snake: str) -> None:
    idl = load({"instructions": [{"name": name, "args": []}]})
    assert idl.instructions[0].discriminator == sha256(f"global:{snake}".encode()).digest()[:8]


U8, TEXT = Primitive("u8"), Primitive("string")


@pytest.mark.parametrize(
    ("raw", "type_"),
    [
        ("bool", Primitive("bool")),
        ("u256", Primitive("u256")),
        ("i256", Primitive("i256")),
        ("publicKey", Primitive("pubkey")),
        ("bytes", Primitive("bytes")),
        ({"option": "u8"}, Option(U8)),
        ({"coption": "u8"}, Option(U8, wide=True)),
        ({"vec": {"vec": "u8"}}, Vec(Vec(U8))),
        ({"array": ["u8", 32]}, Array(U8, 32)),
        ({"array": ["u8", "32"]}, Array(U8, 32)),
        ({"hashMap": ["string", "u8"]}, Vec(Struct(None, (TEXT, U8)))),
        ({"bTreeMap": ["string", "u8"]}, Vec(Struct(None, (TEXT, U8)))),
        ({"hashSet": "u8"}, Vec(U8)),
        ({"bTreeSet": "u8"}, Vec(U8)),
        ({"tuple": ["u8", "string"]}, Struct(None, (U8, TEXT))),
    ],
)
def test_types(raw: Any, type_: Type) -> None:
    assert field_type(with_type(raw)) == type_


def test_generic_types_are_instantiated() -> None:
    pair = {
        "name": "Pair",
        "generics": [{"kind": "type", "name": "T"}, {"kind": "const", "name": "N", "type": "usize"}],
        "type": {
            "kind": "struct",
            "fields": [
                {"name": "first", "type": {"generic": "T"}},
                {"name": "rest", "type": {"array": [{"generic": "T"}, {"generic": "N"}]}},
            ],
        },
    }
    both = {
        "name": "Both",
        "generics": [{"kind": "type", "name": "U"}, {"kind": "const", "name": "M", "type": "usize"}],
        "type": {
            "kind": "struct",
            "fields": [
                {
                    "defined": {
                        "name": "Pair",
                        "generics": [
                            {"kind": "type", "type": {"vec": {"generic": "U"}}},
                            {"kind": "type", "type": {"generic": "M"}},
                        ],
                    }
                }
            ],
        },
    }
    arguments = [{"kind": "type", "type": "u8"}, {"kind": "const", "value": "4"}]
    document = with_type({"defined": {"name": "Both", "generics": arguments}}, types=[pair, both])
    idl = load(document)
    found = field_type(document)
    assert isinstance(found, Defined)
    inner = idl.types[found.key]
    assert isinstance(inner, Struct) and inner.names is None and isinstance(inner.types[0], Defined)
    assert idl.types[inner.types[0].key] == Struct(("first", "rest"), (Vec(U8), Array(Vec(U8), 4)))


def test_legacy_generic_types() -> None:
    document = with_type(
        {"definedWithTypeArgs": {"name": "Few", "args": [{"type": "u8"}, {"value": "3"}]}},
        types=[
            {
                "name": "Few",
                "generics": ["T", "N"],
                "type": {
                    "kind": "struct",
                    "fields": [{"name": "all", "type": {"genericLenArray": [{"generic": "T"}, "N"]}}],
                },
            }
        ],
    )
    found = field_type(document)
    assert isinstance(found, Defined)
    assert load(document).types[found.key] == Struct(("all",), (Array(U8, 3),))


def test_aliases_and_tuples() -> None:
    types = [
        {"name": "New", "type": {"kind": "type", "alias": "u8"}},
        {"name": "Old", "type": {"kind": "alias", "value": {"defined": "New"}}},
        {"name": "Two", "type": {"kind": "struct", "fields": ["u8", {"defined": {"name": "Old"}}]}},
        {"name": "One", "type": {"kind": "enum", "variants": [{"name": "A", "fields": ["u8"]}]}},
    ]
    idl = load({"events": [{"name": name, "discriminator": [1] * 8} for name in ("Two", "One")], "types": types})
    assert idl.types == {
        "New": U8,
        "Old": Defined("New"),
        "Two": Struct(None, (U8, Defined("Old"))),
        "One": Enum((("A", Struct(None, (U8,))),)),
    }


def defined(name: str, body: Any, **more: Any) -> dict[str, Any]:
    return with_type({"defined": {"name": name}}, types=[{"name": name, "type": body, **more}])


GROWING = {
    "name": "G",
    "generics": [{"kind": "type", "name": "T"}],
    "type": {
        "kind": "struct",
        "fields": [
            {
                "name": "x",
                "type": {
                    "option": {
                        "defined": {"name": "G", "generics": [{"kind": "type", "type": {"vec": {"generic": "T"}}}]}
                    }
                },
            }
        ],
    },
}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "the IDL is not an object"),
        (b"[" * 100_000, "not JSON"),
        ({"events": {"name": "E"}}, "events: a list is missing"),
        ({"events": ["E"]}, "events: an entry is not an object"),
        ({"events": [{}]}, "name"),
        ({"events": [{"name": "E", "discriminator": [1] * 8}]}, "event E: type 'E' is not defined"),
        (with_type("u65"), "event E: x: unknown type 'u65'"),
        (with_type(["u8"]), "unknown type"),
        (with_type({"option": "u8", "vec": "u8"}), "unknown type"),
        (with_type({"box": "u8"}), "unknown type 'box'"),
        (with_type({"array": ["u8"]}), "a type and a length"),
        (with_type({"array": ["u8", -1]}), "-1 is not the length"),
        (with_type({"array": ["u8", True]}), "True is not the length"),
        (with_type({"array": ["u8", {"generic": "N"}]}), "is not the length"),
        (with_type({"array": ["u8", 1 << 40]}), "is not the length"),
        (with_type({"hashMap": ["u8"]}), "a key and a value"),
        (with_type({"generic": "T"}), "unknown type parameter 'T'"),
        (with_type({"generic": ["T"]}), "unknown type parameter"),
        (with_type({"defined": {"name": "E", "generics": [{}]}}, types=[{"name": "E", "type": {}}]), "type arguments"),
        (defined("S", {"kind": "union"}), "type S is of unknown kind 'union'"),
        (defined("S", []), "type S is not an object"),
        (defined("S", {"kind": "struct"}, serialization={"custom": "mine"}), "a serialization of its own"),
        (defined("S", {"kind": "struct", "fields": [{"name": "a", "type": "u8"}, "u8"]}), "with and without names"),
        (defined("S", {"kind": "struct", "fields": [{"name": "a", "type": "u8"}] * 2}), "two fields of one name"),
        (defined("S", {"kind": "enum"}), "type S: a list is missing"),
        (defined("S", {"kind": "enum", "variants": [{"name": f"V{n}"} for n in range(257)]}), "257 variants"),
        ({"events": [{"name": "E", "fields": [], "discriminator": [256]}]}, "a list of bytes"),
        ({"events": [{"name": "E", "fields": [], "discriminator": []}]}, "a list of bytes"),
        (with_type({"defined": {"name": "G", "generics": [{"type": "u8"}]}}, types=[GROWING]), "ever more types"),
        (Path("/nowhere/idl.json"), "/nowhere/idl.json: No such file"),
    ],
)
def test_what_is_no_idl(document: Any, says: str) -> None:
    with pytest.raises(IdlError, match=r"\A[^\n]+\Z") as caught:
        load(document)
    assert says in str(caught.value)


def test_types_nested_too_deep() -> None:
    raw: Any = "u8"
    for _ in range(40):
        raw = {"vec": raw}
    with pytest.raises(IdlError, match="nested deeper than 32"):
        load(with_type(raw))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.sampled_from(["u8", "T", "E", "N", "struct", "enum", "3"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            [
                "name", "type", "kind", "fields", "variants", "generics", "generic", "defined", "array", "vec",
                "option", "coption", "hashMap", "tuple", "events", "types", "accounts", "instructions", "args",
                "discriminator", "value", "alias", "metadata", "address",
            ]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "events": JUNK | st.lists(st.fixed_dictionaries({"name": st.just("E")}, optional={"fields": JUNK})),
            "types": JUNK | st.lists(st.fixed_dictionaries({"name": st.just("E"), "type": JUNK, "generics": JUNK})),
            "instructions": JUNK,
            "accounts": JUNK,
            "metadata": JUNK,
        },
    )
)
def test_nothing_but_an_idl_error_comes_of_junk(document: dict[str, Any]) -> None:
    with contextlib.suppress(IdlError):
        idl = load(json.dumps(document).encode())
        assert isinstance(idl, Idl)
        ProgramDecoder("x", idl)
