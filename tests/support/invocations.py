"""Transactions from trees of calls: what the runtime lists and logs of them, and what they truly emit."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from solders.pubkey import Pubkey
from solders.signature import Signature

from app.chain import schema
from app.chain.attribution import EVENT_TAG
from app.chain.model import Instruction, TokenBalance, Transaction
from app.chain.programs import Programs
from app.chain.shapes import Idl
from tests.support.borsh import encode_item, named

REGISTRY = "Fg6PaFpoGXkYsidMpWTK6W2BeZ7FEfcYkg476zPFsLnS"
RECEIPT = "Gx7UjBjVKHNqiQGPzWGVxQb8j4ZKN5cVx5TmPvRfZ8U"
SPLITTER = "BYqBB45Xdz445b4R1pwzkgvpNqqH7ZV4iiuLi2NLPHay"
FOREIGN = "HY5mxE1nQ8xBkMPAMFfxstasSXxabSRVMSnBVTtP4mb3"
BUDGET = "ComputeBudget111111111111111111111111111111"
SYSTEM = "11111111111111111111111111111111"
ED25519 = "Ed25519SigVerify111111111111111111111111111"
PROGRAMS = Programs(REGISTRY, RECEIPT, SPLITTER)
SIGNATURE = str(Signature.default())


def _idl(name: str) -> Idl:
    return schema.load(files("app.chain").joinpath("idl", f"{name}.json").read_bytes())


IDLS = {REGISTRY: _idl("node_registry"), RECEIPT: _idl("job_receipt"), SPLITTER: _idl("payment_splitter")}


def key(number: int) -> str:
    """A public key of its own for each number."""
    return str(Pubkey(number.to_bytes(32, "big")))


def event(program: str, name: str, **data: Any) -> bytes:
    idl = IDLS[program]
    return encode_item(idl, named(idl.events, name), data)


def instruction(program: str, name: str, **arguments: Any) -> bytes:
    idl = IDLS[program]
    return encode_item(idl, named(idl.instructions, name), arguments)


def account(program: str, name: str, **state: Any) -> bytes:
    idl = IDLS[program]
    return encode_item(idl, named(idl.accounts, name), state)


def created(job_id: str = "job-1", **more: Any) -> bytes:
    """A JobCreatedEvent."""
    data = {"job_id": job_id, "client": key(7), "job_type": 0, "price": 5, "timestamp": 1_700_000_000}
    return event(RECEIPT, "JobCreatedEvent", **(data | more))


@dataclass(frozen=True, slots=True)
class Data:
    """``emit!``: a data line."""

    payload: bytes

    @property
    def line(self) -> str:
        return f"Program data: {b64encode(self.payload).decode()}"


@dataclass(frozen=True, slots=True)
class Line:
    """Anything else in the logs."""

    line: str


@dataclass(frozen=True, slots=True)
class Call:
    """An invocation. ``logged``: False for those that leave no line. ``failed``: rolled back; the caller goes on."""

    program: str
    steps: tuple[Call | Data | Line, ...] = ()
    data: bytes = b""
    accounts: tuple[str, ...] = ()
    logged: bool = True
    failed: bool = False


def call(program: str, *steps: Call | Data | Line, **more: Any) -> Call:
    return Call(program, steps, **more)


def emit_cpi(program: str, payload: bytes) -> Call:
    """A program's call to itself that is an event; it must be a step of a call of ``program``."""
    return Call(program, data=EVENT_TAG + payload)


@dataclass(slots=True)
class _Listing:
    logs: list[str] = field(default_factory=list)
    inner: list[Instruction] = field(default_factory=list)

    def add(self, one: Call, depth: int, *, heights: bool) -> None:
        if depth > 1:
            self.inner.append(Instruction(one.program, one.accounts, one.data, depth if heights else None))
        if not one.logged:
            return
        self.logs.append(f"Program {one.program} invoke [{depth}]")
        for step in one.steps:
            if isinstance(step, Call):
                self.add(step, depth + 1, heights=heights)
            else:
                self.logs.append(step.line)
        self.logs.append(f"Program {one.program} consumed 1234 of 200000 compute units")
        end = "failed: custom program error: 0x1" if one.failed else "success"
        self.logs.append(f"Program {one.program} {end}")


def transaction(
    *calls: Call,
    heights: bool = True,
    error: Any = None,
    block_time: int | None = 1_700_000_000,
    pre: Sequence[TokenBalance] = (),
    post: Sequence[TokenBalance] = (),
) -> Transaction:
    """The transaction that makes ``calls``. ``heights``: whether the node tells the inner instructions' heights."""
    logs: list[str] = []
    inner: dict[int, tuple[Instruction, ...]] = {}
    for outer, one in enumerate(calls):
        listing = _Listing()
        listing.add(one, 1, heights=heights)
        logs += listing.logs
        if listing.inner:
            inner[outer] = tuple(listing.inner)
    top = tuple(Instruction(one.program, one.accounts, one.data) for one in calls)
    accounts = tuple(dict.fromkeys(one.program for one in (*top, *(i for called in inner.values() for i in called))))
    return Transaction(SIGNATURE, 9, block_time, 0, error, accounts, top, inner, tuple(logs), tuple(pre), tuple(post))
