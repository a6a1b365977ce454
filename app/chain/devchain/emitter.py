"""The program that stands for all of the network's programs on the local chain, built from ``emitter.s``.

It works under any program id and does two things. Instruction data that begins with the discriminator of one of these
instructions does what that instruction of the real program does, events, checks and token transfers included:

- job_receipt: create_job, assign_job, submit_result, settle_job, cancel_job;
- node_registry: register_node, update_node_status, deregister_node.

Accounts and arguments are those of the IDL. It differs from Anchor's programs in that create_job and register_node
want the account to exist (owned by the program, zeroed, JOB_SPACE or NODE_SPACE bytes), that missing accounts,
unreadable arguments and a wrong account 0 all are ``Custom(1)``, and that strings need not be UTF-8. Other failures
have the codes of the IDL, or Anchor's: 2006 for an address that does not follow from the seeds, 3008 for a wrong token
program, 3010 for a missing signature. Data that would not fit account 0 is ``Custom(2)``.

Any other instruction data is a sequence of records, each a little-endian u32 ``op << 24 | length`` and its payload,
which are carried out in order; see Op. An unreadable record is ``Custom(1)``; what was logged before stays in the logs.
Data that begins with Anchor's event-CPI tag is ignored, so that an ``emit_cpi!`` is a record INVOKE of the
program itself with the tag and the event.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import Final

import msgspec
from spl.token.constants import TOKEN_PROGRAM_ID

from app.chain.devchain.asm import assemble
from app.chain.devchain.elf import link

EVENT_CPI_TAG: Final = bytes.fromhex("e445a52e51cb9a1d")
JOB_SPACE: Final = 404
"""Bytes of a JobAccount with all strings at their limits: what the real program allocates."""
NODE_SPACE: Final = 288
"""Likewise of a NodeAccount."""

_PROGRAMS: Final = ("job_receipt", "node_registry")
_LONGEST: Final = (1 << 24) - 1


class Op(IntEnum):
    """What a record does with its payload."""

    EMIT = 0
    """An event, discriminator and Borsh: logged as ``emit!`` does, ``Program data: <base64>``."""
    WRITE = 1
    """u32 offset, bytes: writes them into the data of account 0; ``Custom(2)`` outside of it or without one."""
    TEXT = 2
    """UTF-8 text: ``Program log: <text>``. The VM aborts on anything else."""
    INVOKE = 3
    """Program id, instruction data: calls that program, which must be among the accounts, without accounts."""
    FAIL = 4
    """u32 code: ends with ``Custom(code)``."""


class _Named(msgspec.Struct):
    name: str
    discriminator: list[int]


class _Error(msgspec.Struct):
    name: str
    code: int


class _Idl(msgspec.Struct):
    instructions: list[_Named]
    accounts: list[_Named]
    events: list[_Named]
    errors: list[_Error]


@cache
def program() -> bytes:
    """The program's ELF file, for any program id under any loader but the deprecated first one."""
    source = files("app.chain.devchain").joinpath("emitter.s").read_text(encoding="utf-8")
    return link(assemble(source, _constants()))


def record(payload: bytes, op: int = Op.EMIT) -> bytes:
    """Instruction data that does ``op`` with ``payload``; records follow one another in one instruction's data.

    Raises ValueError for a payload of 16 MiB or more.
    """
    if len(payload) > _LONGEST:
        raise ValueError(f"a payload of {len(payload)} bytes does not fit a record")
    return struct.pack("<I", op << 24 | len(payload)) + payload


def _constants() -> dict[str, int]:
    """What the source takes from the IDLs and from the token program's address, as little-endian numbers."""
    constants = {f"token_program.{i}": word for i, word in enumerate(struct.unpack("<4Q", bytes(TOKEN_PROGRAM_ID)))}
    for name in _PROGRAMS:
        text = files("app.chain").joinpath("idl", f"{name}.json").read_bytes()
        idl = msgspec.json.decode(text, type=_Idl)
        for kind, entries in (("instruction", idl.instructions), ("account", idl.accounts), ("event", idl.events)):
            constants |= {f"{kind}.{one.name}": int.from_bytes(bytes(one.discriminator), "little") for one in entries}
        constants |= {f"error.{error.name}": error.code for error in idl.errors}
    return constants
