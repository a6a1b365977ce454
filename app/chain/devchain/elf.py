"""The ELF file around a program's machine code, as Solana's loader wants it for sBPF version 0.

What the loader (crate ``solana-sbpf``, ``elf.rs``) insists on: ELF64, little-endian, ET_DYN, machine EM_BPF, no flags;
sections in the order of the file, each at an address equal to its offset; one ``.text``. It resolves a syscall through
an entry R_BPF_64_32 of the table at DT_REL, which names a symbol of the section at DT_SYMTAB, whose name lies in the
section called ``.dynstr``. Format: System V ABI, chapters 4 and 5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from app.chain.devchain.asm import Code

_FILE_HEADER, _SEGMENT, _SECTION, _SYMBOL, _RELOCATION, _DYNAMIC = 64, 56, 64, 24, 16, 16
"""Bytes of one each."""
_PROGBITS, _STRTAB, _DYNAMIC_SECTION, _REL, _DYNSYM = 1, 3, 6, 9, 11
_ALLOC, _EXECUTE = 2, 4
_PT_LOAD, _PT_DYNAMIC, _READ, _READ_EXECUTE = 1, 2, 4, 5
_DT_NULL, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_REL, _DT_RELSZ, _DT_RELENT = 0, 5, 6, 10, 17, 18, 19
_ET_DYN, _EM_BPF, _R_BPF_64_32, _GLOBAL = 3, 247, 10, 0x10
_SEGMENTS: Final = 2


@dataclass(slots=True)
class _Section:
    """``link``: index of the section it refers to; section 0 is the empty one. ``entry``: bytes of one entry."""

    name: str
    kind: int
    body: bytes
    flags: int = _ALLOC
    link: int = 0
    entry: int = 0
    offset: int = 0

    def header(self, name_offset: int) -> bytes:
        address = self.offset if self.flags else 0
        first_global = 1 if self.kind == _DYNSYM else 0
        align = 1 if self.kind == _STRTAB else 8
        place = (self.flags, address, self.offset, len(self.body))
        return struct.pack("<IIQQQQIIQQ", name_offset, self.kind, *place, self.link, first_global, align, self.entry)


def link(code: Code) -> bytes:
    """The ELF file of ``code``; the same bytes for the same code."""
    symbols = list(dict.fromkeys(name for _, name in code.syscalls))
    names, name_at = _strings(symbols)
    table = b"".join(struct.pack("<IBBHQQ", name_at[name], _GLOBAL, 0, 0, 0, 0) for name in symbols)

    text = _Section(".text", _PROGBITS, code.text, _ALLOC | _EXECUTE)
    dynsym = _Section(".dynsym", _DYNSYM, bytes(_SYMBOL) + table, link=3, entry=_SYMBOL)
    dynstr = _Section(".dynstr", _STRTAB, names)
    relocations = _Section(".rel.dyn", _REL, bytes(_RELOCATION * len(code.syscalls)), link=2, entry=_RELOCATION)
    dynamic = _Section(".dynamic", _DYNAMIC_SECTION, bytes(_DYNAMIC * 7), link=3, entry=_DYNAMIC)
    loaded = [text, dynsym, dynstr, relocations, dynamic]
    section_names, section_name_at = _strings([*(section.name for section in loaded), ".shstrtab"])
    sections = [*loaded, _Section(".shstrtab", _STRTAB, section_names, flags=0)]
    end = _FILE_HEADER + _SEGMENTS * _SEGMENT
    for section in sections:
        section.offset = end
        end += _aligned(len(section.body))

    # These two hold addresses, which are known from here on.
    relocations.body = b"".join(
        struct.pack("<QQ", text.offset + at, symbols.index(name) + 1 << 32 | _R_BPF_64_32) for at, name in code.syscalls
    )
    dynamic.body = _dynamic(relocations, dynsym, dynstr)

    start = text.offset + code.entry
    counts = (_FILE_HEADER, _SEGMENT, _SEGMENTS, _SECTION, 1 + len(sections), len(sections))
    ident = b"\x7fELF\x02\x01\x01"
    return b"".join(
        [
            struct.pack("<16sHHIQQQIHHHHHH", ident, _ET_DYN, _EM_BPF, 1, start, _FILE_HEADER, end, 0, *counts),
            _segment(_PT_LOAD, _READ_EXECUTE, text.offset, sections[-1].offset),
            _segment(_PT_DYNAMIC, _READ, dynamic.offset, dynamic.offset + len(dynamic.body)),
            *(section.body.ljust(_aligned(len(section.body)), b"\0") for section in sections),
            bytes(_SECTION),
            *(section.header(section_name_at[section.name]) for section in sections),
        ]
    )


def _dynamic(relocations: _Section, symbols: _Section, names: _Section) -> bytes:
    entries = [
        # The loader refuses an empty table, but not the lack of one.
        (_DT_REL, relocations.offset if relocations.body else 0),
        (_DT_RELSZ, len(relocations.body)),
        (_DT_RELENT, _RELOCATION),
        (_DT_SYMTAB, symbols.offset),
        (_DT_STRTAB, names.offset),
        (_DT_STRSZ, len(names.body)),
        (_DT_NULL, 0),
    ]
    return b"".join(struct.pack("<QQ", tag, value) for tag, value in entries)


def _segment(kind: int, access: int, start: int, end: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, access, start, start, start, end - start, end - start, 8)


def _strings(names: Iterable[str]) -> tuple[bytes, dict[str, int]]:
    """A string table of ``names`` and where in it each begins."""
    table, offsets = b"\0", {}
    for name in names:
        offsets[name] = len(table)
        table += name.encode("ascii") + b"\0"
    return table, offsets


def _aligned(size: int) -> int:
    return -(-size // 8) * 8
