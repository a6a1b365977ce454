"""A small assembler for sBPF version 0, the bytecode of Solana's virtual machine.

The syntax is that of the VM's own assembler (crate ``solana-sbpf``), reduced to 64-bit arithmetic::

    .set LENGTH, 80             # a constant; wherever a number stands, a sum of numbers and constants may
    entrypoint:                 # where the program starts
        ldxdw r2, [r1+LENGTH]   # ldxb ldxh ldxw ldxdw; stores: stxb … stxdw a register, stb … stdw a number
        add64 r2, 7             # add sub mul div or and lsh rsh mod xor mov arsh: a register or a number
        jgt r2, r3, done        # jeq jgt jge jlt jle jne jset jsgt jsge jslt jsle, and ja
        lddw r2, 0x300000000    # a 64-bit number
        call helper             # r1-r5 go in, r0 comes out; the VM keeps r6-r9 for the caller
        syscall sol_log_        # a function of the VM, by name
    done:
        exit

One instruction takes a slot of 8 bytes, ``lddw`` two: opcode u8, ``source << 4 | destination`` u8, offset i16,
immediate i32, little-endian.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

SLOT: Final = 8
"""Bytes of one instruction."""


class AsmError(ValueError):
    """The source is wrong; the message begins with the line number."""


@dataclass(frozen=True, slots=True)
class Code:
    """Machine code, position-independent. ``entry``: byte offset of the label ``entrypoint``.

    ``syscalls``: byte offset and name of each call that the loader has to resolve.
    """

    text: bytes
    entry: int
    syscalls: tuple[tuple[int, str], ...]


def assemble(source: str, constants: Mapping[str, int] | None = None) -> Code:
    """Machine code for ``source``, which may use ``constants`` besides its own. Raises AsmError."""
    unit = _Unit(dict(constants or {}))
    statements = unit.scan(source)
    text = bytearray()
    for statement in statements:
        with _at(statement.line):
            text += unit.encode(statement)
    if "entrypoint" not in unit.labels:
        raise AsmError("no label 'entrypoint'")
    return Code(bytes(text), unit.labels["entrypoint"] * SLOT, tuple(unit.syscalls))


class _Shape(Enum):
    """Which operands a mnemonic takes."""

    ALU = auto()
    JUMP = auto()
    LOAD = auto()
    STORE_REGISTER = auto()
    STORE_NUMBER = auto()
    WIDE = auto()
    GOTO = auto()
    CALL = auto()
    SYSCALL = auto()
    EXIT = auto()


_ARITHMETIC = ("add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "", "mod", "xor", "mov", "arsh")
_CONDITIONS = ("", "jeq", "jgt", "jge", "jset", "jne", "jsgt", "jsge", "", "", "jlt", "jle", "jslt", "jsle")
_WIDTHS = {"w": 0x00, "h": 0x08, "b": 0x10, "dw": 0x18}
_OPCODES: Final[Mapping[str, tuple[_Shape, int]]] = {
    **{f"{name}64": (_Shape.ALU, 0x07 | i << 4) for i, name in enumerate(_ARITHMETIC) if name},
    **{name: (_Shape.JUMP, 0x05 | i << 4) for i, name in enumerate(_CONDITIONS) if name},
    **{f"ldx{width}": (_Shape.LOAD, 0x61 | bits) for width, bits in _WIDTHS.items()},
    **{f"st{width}": (_Shape.STORE_NUMBER, 0x62 | bits) for width, bits in _WIDTHS.items()},
    **{f"stx{width}": (_Shape.STORE_REGISTER, 0x63 | bits) for width, bits in _WIDTHS.items()},
    "lddw": (_Shape.WIDE, 0x18),
    "ja": (_Shape.GOTO, 0x05),
    "call": (_Shape.CALL, 0x85),
    "syscall": (_Shape.SYSCALL, 0x85),
    "exit": (_Shape.EXIT, 0x95),
}
_OPERANDS: Final = {_Shape.JUMP: 3, _Shape.GOTO: 1, _Shape.CALL: 1, _Shape.SYSCALL: 1, _Shape.EXIT: 0}
_FROM_REGISTER: Final = 0x08
_UNRESOLVED: Final = -1
"""Immediate of a call that a relocation completes: the loader takes every other one for a distance."""

_NAME: Final = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_REGISTER: Final = re.compile(r"r(10|[0-9])", re.ASCII)
_MEMORY: Final = re.compile(r"\[(\w+)\s*([+-].*)?\]", re.ASCII)
_SUM: Final = re.compile(r"[+-]?\s*[\w.]+(\s*[+-]\s*[\w.]+)*", re.ASCII)
_TERM: Final = re.compile(r"([+-]?)\s*([\w.]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Statement:
    line: int
    slot: int
    mnemonic: str
    operands: tuple[str, ...]


@dataclass(slots=True)
class _Unit:
    """One source file: what its names mean, and the encoding of its statements."""

    constants: dict[str, int]
    labels: dict[str, int] = field(default_factory=dict)
    syscalls: list[tuple[int, str]] = field(default_factory=list)

    def scan(self, source: str) -> list[_Statement]:
        """The instructions with the slots they will take, having noted labels and constants."""
        statements: list[_Statement] = []
        slot = 0
        for line, text in enumerate(source.splitlines(), 1):
            words = text.partition("#")[0].split(maxsplit=1)
            if not words:
                continue
            operands = tuple(part.strip() for part in words[1].split(",")) if len(words) == 2 else ()
            with _at(line):
                if words[0].endswith(":") and not operands:
                    self._define(self.labels, words[0][:-1], slot)
                elif words[0] == ".set" and len(operands) == 2:
                    self._define(self.constants, operands[0], self.number(operands[1]))
                else:
                    statements.append(_Statement(line, slot, words[0], operands))
                    slot += 2 if words[0] == "lddw" else 1
        return statements

    def encode(self, statement: _Statement) -> bytes:
        if statement.mnemonic not in _OPCODES:
            raise AsmError(f"unknown mnemonic {statement.mnemonic!r}")
        shape, opcode = _OPCODES[statement.mnemonic]
        wanted, args = _OPERANDS.get(shape, 2), statement.operands
        if len(args) != wanted:
            raise AsmError(f"{statement.mnemonic} takes {wanted} operands, not {len(args)}")
        match shape:
            case _Shape.ALU:
                return self._with_value(opcode, _target(args[0]), 0, args[1])
            case _Shape.JUMP:
                return self._with_value(opcode, _register(args[0]), self._distance(statement, args[2]), args[1])
            case _Shape.LOAD:
                return _pack(opcode, _target(args[0]), *self._memory(args[1]))
            case _Shape.STORE_REGISTER:
                base, offset = self._memory(args[0])
                return _pack(opcode, base, _register(args[1]), offset)
            case _Shape.STORE_NUMBER:
                base, offset = self._memory(args[0])
                return _pack(opcode, base, 0, offset, self.number(args[1]))
            case _Shape.WIDE:
                return self._wide(opcode, args[0], args[1])
            case _Shape.GOTO:
                return _pack(opcode, offset=self._distance(statement, args[0]))
            case _Shape.CALL:
                return self._call(opcode, self._distance(statement, args[0]))
            case _Shape.SYSCALL:
                self.syscalls.append((statement.slot * SLOT, args[0]))
                return _pack(opcode, source=1, immediate=_UNRESOLVED)
            case _Shape.EXIT:
                return _pack(opcode)

    def number(self, text: str) -> int:
        """The value of a sum such as ``8+LENGTH-1``."""
        if not _SUM.fullmatch(text):
            raise AsmError(f"{text!r} is no number")
        return sum((-1 if sign == "-" else 1) * self._term(word) for sign, word in _TERM.findall(text))

    def _term(self, word: str) -> int:
        if word in self.constants:
            return self.constants[word]
        try:
            return int(word, 0)
        except ValueError:
            raise AsmError(f"{word!r} is neither a number nor a constant") from None

    def _memory(self, text: str) -> tuple[int, int]:
        found = _MEMORY.fullmatch(text)
        if found is None:
            raise AsmError(f"{text!r} is no place in memory, such as [r1+8]")
        return _register(found[1]), self.number(found[2] or "0")

    def _distance(self, statement: _Statement, label: str) -> int:
        if label not in self.labels:
            raise AsmError(f"no label {label!r}")
        return self.labels[label] - statement.slot - 1

    def _with_value(self, opcode: int, left: int, offset: int, value: str) -> bytes:
        if _REGISTER.fullmatch(value):
            return _pack(opcode | _FROM_REGISTER, left, _register(value), offset)
        return _pack(opcode, left, 0, offset, self.number(value))

    def _wide(self, opcode: int, target: str, value: str) -> bytes:
        number = self.number(value)
        if not -(1 << 63) <= number < 1 << 64:
            raise AsmError(f"{value} takes more than 64 bits")
        low, high = struct.unpack("<ii", struct.pack("<Q", number % (1 << 64)))
        return _pack(opcode, _target(target), immediate=low) + _pack(0, immediate=high)

    def _call(self, opcode: int, distance: int) -> bytes:
        if distance == _UNRESOLVED:
            raise AsmError("a call of itself cannot be told from a syscall")
        return _pack(opcode, source=1, immediate=distance)

    def _define(self, table: dict[str, int], name: str, value: int) -> None:
        if not _NAME.fullmatch(name) or _REGISTER.fullmatch(name):
            raise AsmError(f"{name!r} cannot be a name")
        if name in self.labels or name in self.constants:
            raise AsmError(f"{name!r} is defined twice")
        table[name] = value


@contextmanager
def _at(line: int) -> Iterator[None]:
    try:
        yield
    except AsmError as error:
        raise AsmError(f"line {line}: {error}") from None


def _register(text: str) -> int:
    found = _REGISTER.fullmatch(text)
    if found is None:
        raise AsmError(f"{text!r} is no register")
    return int(found[1])


def _target(text: str) -> int:
    if text == "r10":
        raise AsmError("r10, the frame pointer, cannot be written")
    return _register(text)


def _pack(opcode: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    try:
        return struct.pack("<BBhi", opcode, source << 4 | target, offset, immediate)
    except struct.error:
        raise AsmError(f"offset {offset} takes more than 16 bits, or number {immediate} more than 32") from None
