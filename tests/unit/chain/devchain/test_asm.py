"""Encodings against the instruction set's tables, errors with their lines, and code that really runs."""

from __future__ import annotations

import struct

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.transaction import Transaction

from app.chain.devchain.asm import AsmError, assemble
from app.chain.devchain.elf import link


def run(source: str) -> int | None:
    """What the program ``source`` returns in a real VM, None for success."""
    svm, payer, key = LiteSVM(), Keypair(), Keypair().pubkey()
    svm.add_program(key, link(assemble(source)))
    svm.airdrop(payer.pubkey(), 10**10)
    blockhash = svm.latest_blockhash()
    message = Message.new_with_blockhash([Instruction(key, b"", [])], payer.pubkey(), blockhash)
    result = svm.send_transaction(Transaction([payer], message, blockhash))
    text = str(result)
    return int(text.split("Custom(")[1].split(")")[0]) if "Custom(" in text else None


@pytest.mark.parametrize(
    ("line", "encoded"),
    [
        ("add64 r1, 8", "0701000008000000"),
        ("add64 r1, r2", "0f21000000000000"),
        ("sub64 r9, -1", "17090000ffffffff"),
        ("mul64 r3, 56", "2703000038000000"),
        ("div64 r3, r4", "3f43000000000000"),
        ("mod64 r3, 100", "9703000064000000"),
        ("and64 r4, -8", "57040000f8ffffff"),
        ("lsh64 r2, 3", "6702000003000000"),
        ("rsh64 r2, 24", "7702000018000000"),
        ("arsh64 r2, 1", "c702000001000000"),
        ("mov64 r6, r10", "bfa6000000000000"),
        ("mov64 r0, 0x10", "b700000010000000"),
        ("ldxb r1, [r2]", "7121000000000000"),
        ("ldxh r1, [r2+2]", "6921020000000000"),
        ("ldxw r1, [r2 - 4]", "6121fcff00000000"),
        ("ldxdw r1, [r10-8]", "79a1f8ff00000000"),
        ("stxb [r1+1], r2", "7321010000000000"),
        ("stxdw [r10-16], r9", "7b9af0ff00000000"),
        ("stb [r1+16], 5", "7201100005000000"),
        ("stdw [r1], -1", "7a010000ffffffff"),
        ("jeq r1, 2, entrypoint", "1501ffff02000000"),
        ("jne r1, r2, entrypoint", "5d21ffff00000000"),
        ("jgt r1, 2, entrypoint", "2501ffff02000000"),
        ("jlt r1, 2, entrypoint", "a501ffff02000000"),
        ("jsle r1, r2, entrypoint", "dd21ffff00000000"),
        ("ja entrypoint", "0500ffff00000000"),
        ("lddw r2, 0x1d9acb512ea545e4", "18020000e445a52e0000000051cb9a1d"),
        ("lddw r2, -2", "18020000feffffff00000000ffffffff"),
        ("syscall sol_log_", "85100000ffffffff"),
        ("exit  # done", "9500000000000000"),
    ],
)
def test_encoding(line: str, encoded: str) -> None:
    assert assemble(f"entrypoint:\n  {line}\n").text.hex() == encoded


def test_calls_and_jumps_count_a_wide_number_twice() -> None:
    code = assemble(
        "helper:\n exit\nentrypoint:\n call far\n ja over\n lddw r1, 1\nover:\n exit\nfar:\n call helper\n exit"
    )
    assert code.entry == 8
    assert struct.unpack_from("<i", code.text, 8 + 4) == (4,)
    assert struct.unpack_from("<h", code.text, 16 + 2) == (2,)
    assert struct.unpack_from("<i", code.text, 48 + 4) == (-7,)


def test_constants_are_sums_and_may_come_from_outside() -> None:
    source = ".set A, 8\n.set B, A+GIVEN-1\nentrypoint:\n mov64 r0, B + 0x10 - A\n ldxb r1, [r2+B]"
    code = assemble(source, {"GIVEN": 3})
    assert struct.unpack_from("<i", code.text, 4) == (18,)
    assert struct.unpack_from("<h", code.text, 10) == (10,)


def test_syscalls_are_listed_where_they_stand() -> None:
    code = assemble("entrypoint:\n lddw r1, 1\n syscall sol_log_\n syscall abort\n syscall sol_log_")
    assert code.syscalls == ((16, "sol_log_"), (24, "abort"), (32, "sol_log_"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("frob r1", "unknown mnemonic 'frob'"),
        ("mov64 r1", "mov64 takes 2 operands, not 1"),
        ("mov64 r11, 1", "'r11' is no register"),
        ("mov64 r10, 1", "r10, the frame pointer, cannot be written"),
        ("mov64 r1, WHAT", "'WHAT' is neither a number nor a constant"),
        ("mov64 r1, 1 2", "'1 2' is no number"),
        ("mov64 r1, 0x80000000", "more than 32"),
        ("lddw r1, 0x10000000000000000", "takes more than 64 bits"),
        ("ldxb r1, r2", "'r2' is no place in memory"),
        ("ldxb r1, [r2+40000]", "takes more than 16 bits"),
        ("ja nowhere", "no label 'nowhere'"),
        ("call again", "a call of itself cannot be told from a syscall"),
        ("again:", "'again' is defined twice"),
        ("r1:", "'r1' cannot be a name"),
        (".set again, 1", "'again' is defined twice"),
        (".set A", "unknown mnemonic '.set'"),
    ],
)
def test_errors_name_the_line(line: str, message: str) -> None:
    with pytest.raises(AsmError, match=r"^line 3: ") as caught:
        assemble(f"entrypoint:\nagain:\n{line}\nexit")
    assert message in str(caught.value)


def test_a_program_needs_an_entrypoint() -> None:
    with pytest.raises(AsmError, match="entrypoint"):
        assemble("exit")


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("mov64 r0, 0\n exit", None),
        ("mov64 r0, 7\n mul64 r0, 13\n mod64 r0, 50\n exit", 41),
        ("lddw r0, 0x1_0000_0064\n rsh64 r0, 1\n and64 r0, 0xff\n exit", 50),
        ("mov64 r6, 5\n mov64 r1, 20\n call double\n add64 r0, r6\n exit\ndouble:\n mov64 r6, r1\n add64 r6, r1\n"
         " mov64 r0, r6\n exit", 45),
        ("stw [r10-4], 0x01020304\n ldxb r0, [r10-3]\n exit", 3),
        ("mov64 r1, -5\n jslt r1, 0, low\n mov64 r0, 1\n exit\nlow:\n mov64 r0, 2\n exit", 2),
        ("mov64 r1, r10\n sub64 r1, 40\n syscall sol_get_clock_sysvar\n mov64 r0, 9\n exit", 9),
    ],
)  # fmt: skip
def test_it_runs(source: str, result: int | None) -> None:
    assert run(f"before:\n exit\nentrypoint:\n {source}") == result


def test_linking_is_deterministic_and_places_sections_at_their_addresses() -> None:
    code = assemble("entrypoint:\n mov64 r1, 0\n syscall sol_log_\n exit")
    elf = link(code)
    assert elf == link(code)
    entry, _, table = struct.unpack_from("<QQQ", elf, 24)
    assert elf[entry : entry + len(code.text)] == code.text
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, table + 64 * i) for i in range(7)]
    assert table + 64 * 7 == len(elf)
    assert [at for _, _, _, at, _, _, _, _, _, _ in headers[1:6]] == [header[4] for header in headers[1:6]]
