"""app.chain.decode: the decoder of one program. What Decoder makes of transactions is in test_attribution.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.chain.decode import DecodeError, ProgramDecoder
from app.chain.shapes import Idl, Item, Primitive, Struct, Type
from tests.support.borsh import encode_item, named
from tests.support.invocations import IDLS, RECEIPT, REGISTRY

JOBS, NODES = IDLS[RECEIPT], IDLS[REGISTRY]
KEY = "9m9hpsueuYf6QxpN2NU91AsoM6dpCEBQ8F31VWkFg3VC"


def reason(call: Any, raw: bytes) -> tuple[str, str]:
    with pytest.raises(DecodeError) as caught:
        call(raw)
    return caught.value.reason, caught.value.detail


def test_events() -> None:
    decoder = ProgramDecoder("p", NODES)
    updated = named(NODES.events, "NodeStatusUpdated")
    data = {"node_id": "node-1", "status": {"Suspended": {}}, "timestamp": -1}
    raw = encode_item(NODES, updated, data)
    assert decoder.event(raw) == ("NodeStatusUpdated", data)
    assert reason(decoder.event, raw + b"\0") == ("trailing_bytes", "1 bytes behind NodeStatusUpdated")
    assert reason(decoder.event, raw[:-1])[0] == "short"
    assert reason(decoder.event, raw[:7]) == ("short", "7 bytes are too few for a discriminator")
    assert reason(decoder.event, b"") == ("short", "0 bytes are too few for a discriminator")
    assert reason(decoder.event, bytes(8)) == ("unknown_discriminator", "0000000000000000")
    status = raw.index(b"node-1") + 6
    bad = raw[:status] + b"\7" + raw[status + 1 :]
    assert reason(decoder.event, bad) == ("invalid_value", "NodeStatusUpdated: 7 is no variant of an enum")
    bad = raw.replace(b"node-1", b"node-\xff")
    assert reason(decoder.event, bad) == ("invalid_value", "a text of NodeStatusUpdated is not UTF-8")


JOB = {
    "job_id": "job-1",
    "client": KEY,
    "assigned_node": KEY,
    "job_type": 5,
    "price": 2**64 - 1,
    "requirements_hash": "ab" * 32,
    "created_at": 1,
    "completed_at": 0,
    "status": 1,
    "result_hash": "",
    "logs_url": "",
    "payment_settled": False,
    "bump": 255,
}


def test_accounts_may_have_room_behind_them() -> None:
    decoder = ProgramDecoder("p", JOBS)
    raw = encode_item(JOBS, named(JOBS.accounts, "JobAccount"), JOB)
    assert decoder.account(raw) == ("JobAccount", JOB)
    assert decoder.account(raw + bytes(200)) == ("JobAccount", JOB)
    assert reason(decoder.account, raw + bytes(9) + b"\1")[0] == "trailing_bytes"
    assert reason(decoder.account, raw[:-1])[0] == "short"
    assert reason(decoder.account, bytes(300))[0] == "unknown_discriminator"


def test_instructions_may_have_anything_behind_them() -> None:
    decoder = ProgramDecoder("p", JOBS)
    create = named(JOBS.instructions, "create_job")
    arguments = {"job_id": "job-1", "job_type": 0, "price": 7, "requirements_hash": "h"}
    raw = encode_item(JOBS, create, arguments)
    assert decoder.instruction(raw) == ("create_job", arguments)
    # Anchor reads its arguments and leaves the rest.
    assert decoder.instruction(raw + b"rest") == ("create_job", arguments)
    assert decoder.instruction(named(JOBS.instructions, "cancel_job").discriminator) == ("cancel_job", {})
    assert reason(decoder.instruction, raw[:-1])[0] == "short"
    assert decoder.named("create_job", ["a", "b"]) == {"job_account": "a", "client": "b"}


def one_event(name: str, discriminator: bytes, *types: Type) -> Idl:
    fields = Struct(tuple(f"f{n}" for n in range(len(types))), types)
    return Idl(name, "", {}, (Item(name, discriminator, fields),), (), ())


def test_versions_are_told_apart_by_length() -> None:
    u8 = Primitive("u8")
    tag = b"the same"
    decoder = ProgramDecoder("p", one_event("Old", tag, u8), one_event("New", tag, u8, u8, Primitive("string")))
    assert decoder.event(tag + b"\1") == ("Old", {"f0": 1})
    assert decoder.event(tag + b"\1\2\1\0\0\0a") == ("New", {"f0": 1, "f1": 2, "f2": "a"})
    # No version fits: the first one says why.
    assert reason(decoder.event, tag + b"\1\2")[0] == "trailing_bytes"
    assert reason(decoder.event, tag)[0] == "short"
    twins = ProgramDecoder("p", one_event("First", tag, u8), one_event("Second", tag, u8))
    assert twins.event(tag + b"\1")[0] == "First"


def test_discriminators_of_other_lengths() -> None:
    u8 = Primitive("u8")
    base = one_event("One", b"\1", u8)
    idl = replace(
        base,
        events=(
            *base.events,
            *one_event("Three", b"\2\2\2", u8).events,
            *one_event("Long", b"\1 longer one", u8).events,
        ),
    )
    decoder = ProgramDecoder("p", idl)
    assert decoder.event(b"\1\7") == ("One", {"f0": 7})
    assert decoder.event(b"\2\2\2\7") == ("Three", {"f0": 7})
    assert decoder.event(b"\1 longer one\7") == ("Long", {"f0": 7})
    assert reason(decoder.event, b"\1")[0] == "short"
    assert reason(decoder.event, b"\2\2\2")[0] == "short"
    assert reason(decoder.event, b"\2\2")[0] == "short"
    assert reason(decoder.event, b"\3" * 8)[0] == "unknown_discriminator"
