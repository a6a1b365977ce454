"""A Solana program that hands what it gets on to another one, for events at any depth of calls."""

from __future__ import annotations

from functools import cache

from app.chain.devchain.asm import assemble
from app.chain.devchain.elf import link

_SOURCE = """
    .set HEAP, 0x300000000
    .set METAS, 64                  # SolAccountMeta: address of the key, u8 writable, u8 signer; 16 bytes
    .set INFOS, 256                 # SolAccountInfo, 56 bytes
entrypoint:
    lddw r6, HEAP                   # SolInstruction
    ldxdw r9, [r1]                  # accounts, each there once
    add64 r1, 8
    mov64 r7, r6
    add64 r7, METAS
    mov64 r8, r6
    add64 r8, INFOS
    mov64 r3, r9
account:
    jeq r3, 0, arguments
    sub64 r3, 1
    mov64 r2, r1
    add64 r2, 8                     # key
    stxdw [r7], r2
    stxdw [r8], r2
    add64 r2, 32                    # owner
    stxdw [r8+32], r2
    add64 r2, 32                    # lamports
    stxdw [r8+8], r2
    ldxdw r4, [r1+80]               # length of the data
    stxdw [r8+16], r4
    mov64 r2, r1
    add64 r2, 88                    # data
    stxdw [r8+24], r2
    ldxb r2, [r1+1]                 # signer
    stxb [r7+9], r2
    stxb [r8+48], r2
    ldxb r2, [r1+2]                 # writable
    stxb [r7+8], r2
    stxb [r8+49], r2
    ldxb r2, [r1+3]                 # executable
    stxb [r8+50], r2
    add64 r4, 7
    and64 r4, -8
    add64 r1, r4
    add64 r1, 88+10240+8
    add64 r7, 16
    add64 r8, 56
    ja account
arguments:
    ldxdw r4, [r1]
    add64 r1, 8
    stxdw [r6], r1                  # program id
    mov64 r2, r6
    add64 r2, METAS
    stxdw [r6+8], r2
    stxdw [r6+16], r9
    add64 r1, 32
    stxdw [r6+24], r1
    sub64 r4, 32
    stxdw [r6+32], r4
    mov64 r1, r6
    mov64 r2, r6
    add64 r2, INFOS
    mov64 r3, r9
    mov64 r4, r6                    # no seeds
    mov64 r5, 0
    syscall sol_invoke_signed_c
    exit
"""


@cache
def program() -> bytes:
    """Its ELF. Instruction data: the id of the program to call, and the data for that, which gets all accounts, too.

    No account may be passed twice.
    """
    return link(assemble(_SOURCE))
