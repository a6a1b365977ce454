"""Records, in a real VM."""

from __future__ import annotations

import base64
import random
import struct

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from app.chain.devchain import emitter
from app.chain.devchain.emitter import EVENT_CPI_TAG, Op, record
from tests.unit.chain.devchain.machine import TOKEN, Landed, Machine, r, s, w

A = Pubkey.from_string("Fg6PaFpoGXkYsidMpWTK6W2BeZ7FEfcYkg476zPFsLnS")
B, C = Keypair().pubkey(), Keypair().pubkey()
_random = random.Random(3)
E1, E2, E3 = (_random.randbytes(size) for size in (8, 40, 177))


@pytest.fixture
def machine() -> Machine:
    return Machine(A, B, C)


def records(*events: bytes) -> bytes:
    return b"".join(map(record, events))


def write(offset: int, payload: bytes) -> bytes:
    return record(struct.pack("<I", offset) + payload, Op.WRITE)


def fails_with(landed: Landed, code: int, *events: bytes) -> None:
    assert landed.code == code
    assert landed.events == [(A, event) for event in events]


def test_it_is_built_once_and_always_the_same() -> None:
    first = emitter.program()
    assert emitter.program() is first
    emitter.program.cache_clear()
    assert emitter.program() == first


def test_events_are_logged_in_order_under_every_id(machine: Machine) -> None:
    assert machine.call(b"").events == []
    assert machine.call(records(E1)).events == [(A, E1)]
    assert machine.call(records(E1, E2, E3)).events == [(A, E1), (A, E2), (A, E3)]
    landed = machine.send(
        Instruction(A, records(E1), []), Instruction(B, records(E2, E1), []), Instruction(C, records(E3), [])
    )
    assert landed.error is None
    assert landed.events == [(A, E1), (B, E2), (B, E1), (C, E3)]


@pytest.mark.parametrize("loader", ["2111111111111111111111111111111111", "Upgradeab1e11111111111111111111111"])
def test_any_current_loader_takes_it(machine: Machine, loader: str) -> None:
    machine.id = Keypair().pubkey()
    machine.svm.add_program_with_loader(machine.id, emitter.program(), Pubkey.from_string(f"BPFLoader{loader}"))
    assert machine.call(records(E1)).events == [(machine.id, E1)]


def test_events_of_any_size(machine: Machine) -> None:
    for size in (0, 1, *range(7, 66), 255, 256, 899, 900, 901, 1058):
        event = _random.randbytes(size)
        assert machine.call(records(event)).events == [(A, event)]


def test_any_accounts_may_be_passed(machine: Machine) -> None:
    plain = [r(Keypair().pubkey()) for _ in range(5)]
    sized = [w(machine.account(_random.randbytes(n))) for n in (0, 1, 7, 8, 9, 165, 10_000)]
    payer = AccountMeta(machine.payer.pubkey(), is_signer=True, is_writable=True)
    for accounts in (
        plain[:1],
        sized,
        plain + sized,
        [payer],
        [sized[1], sized[1]],
        [sized[5], plain[0], sized[5], payer, plain[0], sized[6]],
        [r(B), r(TOKEN), sized[3]],
        sized * 8,
    ):
        assert machine.call(records(E1, E2), *accounts).events == [(A, E1), (A, E2)]
        assert machine.call(records(E1, E2), *accounts[::-1]).events == [(A, E1), (A, E2)]


@pytest.mark.parametrize(
    "tail",
    [
        b"\x01",
        b"\x01\0\0",
        b"\x01\0\0\0",
        b"\x09\0\0\0" + bytes(8),
        b"\xff" * 4,
        b"\xff" * 300,
        b"\0\0\0\5",
        EVENT_CPI_TAG,
        record(bytes(3), Op.WRITE),
        record(bytes(31), Op.INVOKE),
        record(b"\7\0\0", Op.FAIL),
    ],
    ids=bytes.hex,
)
def test_what_is_malformed_fails_and_keeps_the_logs_before(machine: Machine, tail: bytes) -> None:
    fails_with(machine.call(records(E1, E2) + tail), 1, E1, E2)


@pytest.mark.parametrize("code", [0, 1, 6001, 2**32 - 1])
def test_it_fails_with_the_code_asked_for(machine: Machine, code: int) -> None:
    fails_with(machine.call(records(E1) + record(struct.pack("<I", code), Op.FAIL) + records(E2)), code, E1)


def test_a_later_instruction_fails(machine: Machine) -> None:
    fails_with(machine.send(Instruction(A, records(E1), []), Instruction(A, b"\xff", [])), 1, E1)


def test_writing_into_account_0(machine: Machine) -> None:
    before = _random.randbytes(16)
    owned = machine.account(before)
    assert machine.call(write(3, b"Anchor") + records(E1), w(owned), r(B)).events == [(A, E1)]
    assert machine.data(owned) == before[:3] + b"Anchor" + before[9:]
    assert machine.call(write(0, before[:9]) + write(16, b""), w(owned)).error is None
    assert machine.data(owned) == before


def test_writing_where_it_must_not(machine: Machine) -> None:
    before = bytes(16)
    owned, foreign = machine.account(before), machine.account(before, B)
    fails_with(machine.call(write(0, b"Anchor")), 2)
    fails_with(machine.call(records(E1) + write(11, b"Anchor"), w(owned)), 2, E1)
    fails_with(machine.call(write(2**32 - 1, b"Anchor"), w(owned)), 2)
    assert machine.call(write(0, b"Anchor"), r(owned)).error == {"InstructionError": [0, "ReadonlyDataModified"]}
    assert machine.call(write(0, b"Anchor"), w(foreign)).error == {
        "InstructionError": [0, "ExternalAccountDataModified"]
    }
    assert machine.data(owned) == machine.data(foreign) == before


def test_a_log_line_that_looks_like_an_event_is_none(machine: Machine) -> None:
    line = f"Program data: {base64.b64encode(E1).decode()}"
    landed = machine.call(record(line.encode(), Op.TEXT) + records(E2))
    assert landed.events == [(A, E2)]
    assert f"Program log: {line}" in landed.logs
    assert machine.call(record(b"\xff", Op.TEXT)).error == {"InstructionError": [0, "ProgramFailedToComplete"]}


def test_invoked_programs_log_under_their_own_name(machine: Machine) -> None:
    callees = [r(C), r(B), r(A)]
    inner = record(bytes(C) + records(E3), Op.INVOKE)
    landed = machine.call(records(E1) + record(bytes(B) + records(E2) + records(E1), Op.INVOKE) + records(E3), *callees)
    assert landed.events == [(A, E1), (B, E2), (B, E1), (A, E3)]
    assert landed.inner[0][0].instruction().data == records(E2, E1)
    # The callee gets no accounts, so that it cannot pass the call on.
    assert machine.call(record(bytes(B) + inner, Op.INVOKE), *callees).error is not None
    fails_with(machine.call(record(bytes(B) + b"\xff", Op.INVOKE), *callees), 1)
    assert machine.call(record(bytes(B) + records(E2), Op.INVOKE)).error is not None


def test_emit_cpi_is_an_inner_instruction_without_a_log_line(machine: Machine) -> None:
    data = EVENT_CPI_TAG + E2
    landed = machine.call(record(bytes(A) + data, Op.INVOKE) + records(E1), r(A))
    assert landed.error is None
    assert landed.events == [(A, E1)]
    assert landed.inner[0][0].instruction().data == data
    assert machine.call(EVENT_CPI_TAG, s(machine.payer.pubkey())).error is None


def test_a_payload_is_bounded() -> None:
    assert record(b"abc", Op.TEXT) == b"\3\0\0\2abc"
    with pytest.raises(ValueError, match="does not fit"):
        record(bytes(1 << 24))
