"""What the final blocks of a local chain say, read by other means than the engine's.

From the logs, the instructions and the IDL files alone; nothing of the engine's decoder, so that a mistake there is
not repeated here. It trusts the chain: logs are whole, and every invocation is in them.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from app.chain.base58 import decode as from_base58
from app.chain.devchain.blocks import Commitment
from app.chain.devchain.chain import DevChain
from app.chain.devchain.records import Landed

EVENT_CPI = bytes.fromhex("e445a52e51cb9a1d")
_NUMBERS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "i64": "<q", "bool": "<?"}
_LONGEST = {"job_id": 32, "node_id": 64, "result_hash": 64, "logs_url": 128}


@dataclass(frozen=True, slots=True)
class Said:
    """One event. ``outer``, ``inner``, ``ordinal``: where in its transaction, as the engine counts."""

    signature: str
    program: str
    outer: int
    inner: int
    ordinal: int
    slot: int
    name: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Invocation:
    """``caller``: the program that made the call, None for a transaction's own instruction."""

    program: str
    outer: int
    inner: int
    data: bytes
    caller: str | None


def final_transactions(chain: DevChain) -> Iterator[Landed]:
    """Everything in finalized blocks, failed or not, in the chain's order."""
    for slot in chain.blocks.between(0, chain.slot_at(Commitment.FINALIZED)):
        block = chain.blocks.get(slot)
        assert block is not None
        yield from block.landed


def events_of(landed: Landed, programs: dict[str, str]) -> list[Said]:
    """The events of a transaction. ``programs``: names by id."""
    if landed.err is not None:
        return []
    found = []
    for called, ordinal, raw in _emitted(landed, programs):
        name, data = _decoded(programs[called.program], raw)
        if name and not _refused(data):
            place = (called.outer, called.inner, ordinal)
            found.append(Said(str(landed.signature), called.program, *place, landed.slot, name, data))
    return found


def tokens_moved(landed: Landed) -> dict[tuple[str, str], int]:
    """What each token account, by address and mint, gained (+) or lost (-)."""
    meta = json.loads(landed.meta)
    keys = _keys(landed, meta)
    changes: dict[tuple[str, str], int] = {}
    for sign, name in ((-1, "preTokenBalances"), (1, "postTokenBalances")):
        for one in meta[name]:
            place = (keys[one["accountIndex"]], one["mint"])
            changes[place] = changes.get(place, 0) + sign * int(one["uiTokenAmount"]["amount"])
    return {place: amount for place, amount in changes.items() if amount}


def account_fields(program: str, name: str, data: bytes) -> dict[str, Any] | None:
    """The fields of an account of ``program``, None when it is no ``name``."""
    idl = _idl(program)
    (discriminator,) = (bytes(one["discriminator"]) for one in idl["accounts"] if one["name"] == name)
    return _struct(idl, name, data, 8)[0] if data[:8] == discriminator else None


def _emitted(landed: Landed, programs: dict[str, str]) -> Iterator[tuple[Invocation, int, bytes]]:
    meta = json.loads(landed.meta)
    running: list[Invocation] = []
    counts: dict[tuple[int, int], int] = {}
    outer = inner = -1
    listed = _instructions(landed, meta)
    for line in meta["logMessages"]:
        words = line.split(" ")
        if line.startswith("Program data: "):
            now = running[-1]
            if now.program in programs:
                place = (now.outer, now.inner)
                counts[place] = counts.get(place, -1) + 1
                yield now, counts[place], b64decode(words[2])
        elif words[0] == "Program" and len(words) == 4 and words[2] == "invoke":
            outer, inner = (outer + 1, -1) if words[3] == "[1]" else (outer, inner + 1)
            program, data = listed[(outer, inner)]
            assert program == words[1], "the logs are not in the order of the instructions"
            now = Invocation(program, outer, inner, data, running[-1].program if running else None)
            running.append(now)
            if program in programs and now.caller == program and data.startswith(EVENT_CPI):
                yield now, 0, data[len(EVENT_CPI) :]
        elif words[0] == "Program" and len(words) == 3 and words[2] == "success":
            running.pop()


def _instructions(landed: Landed, meta: dict[str, Any]) -> dict[tuple[int, int], tuple[str, bytes]]:
    keys = _keys(landed, meta)
    listed = {
        (outer, -1): (keys[one.program_id_index], bytes(one.data))
        for outer, one in enumerate(VersionedTransaction.from_bytes(landed.raw).message.instructions)
    }
    for group in meta["innerInstructions"]:
        for inner, one in enumerate(group["instructions"]):
            listed[(group["index"], inner)] = (keys[one["programIdIndex"]], from_base58(one["data"]))
    return listed


def _keys(landed: Landed, meta: dict[str, Any]) -> list[str]:
    keys = [str(key) for key in VersionedTransaction.from_bytes(landed.raw).message.account_keys]
    loaded = meta["loadedAddresses"]
    return [*keys, *loaded["writable"], *loaded["readonly"]]


def _decoded(program: str, raw: bytes) -> tuple[str, dict[str, Any]]:
    """An event's name and fields, "" for what is none."""
    idl = _idl(program)
    for event in idl["events"]:
        if bytes(event["discriminator"]) == raw[:8]:
            try:
                data, end = _struct(idl, event["name"], raw, 8)
            except (struct.error, IndexError, UnicodeDecodeError):
                break
            if end == len(raw):
                return event["name"], data
    return "", {}


def _refused(data: dict[str, Any]) -> bool:
    """Whether a text is one that the network's programs, or PostgreSQL, would not take."""
    texts = [(name, value) for name, value in data.items() if isinstance(value, str)]
    return any("\0" in text or len(text.encode()) > _LONGEST.get(name, 2**16) for name, text in texts)


def _struct(idl: dict[str, Any], name: str, raw: bytes, at: int) -> tuple[dict[str, Any], int]:
    (fields,) = (one["type"]["fields"] for one in idl["types"] if one["name"] == name)
    values = {}
    for field in fields:
        values[field["name"]], at = _value(idl, field["type"], raw, at)
    return values, at


def _value(idl: dict[str, Any], kind: Any, raw: bytes, at: int) -> tuple[Any, int]:
    if kind == "string":
        (size,) = struct.unpack_from("<I", raw, at)
        if at + 4 + size > len(raw):
            raise IndexError(size)
        return raw[at + 4 : at + 4 + size].decode(), at + 4 + size
    if kind == "pubkey":
        return str(Pubkey.from_bytes(raw[at : at + 32])), at + 32
    if isinstance(kind, dict):
        (variants,) = (one["type"]["variants"] for one in idl["types"] if one["name"] == kind["defined"]["name"])
        return {variants[raw[at]]["name"]: {}}, at + 1
    (number,) = struct.unpack_from(_NUMBERS[kind], raw, at)
    return number, at + struct.calcsize(_NUMBERS[kind])


@cache
def _idl(program: str) -> dict[str, Any]:
    text = files("app.chain").joinpath("idl", f"{program}.json").read_text(encoding="utf-8")
    read: dict[str, Any] = json.loads(text)
    return read
