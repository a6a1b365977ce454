"""The finalized chain as its blocks have it: written without the engine's decoder, to judge what that made of it."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from solders.pubkey import Pubkey

from app.chain.devchain import tokens
from app.chain.devchain.chain import DevChain
from app.chain.devchain.money import token_address
from app.chain.devchain.network import Programs
from app.demo.onchain import ChainLedger, Key, SeenEvent

_NAMES = (
    "NodeRegistered",
    "NodeStatusUpdated",
    "NodeDeregistered",
    "JobCreatedEvent",
    "JobAssignedEvent",
    "JobCompletedEvent",
    "JobCancelledEvent",
    "PaymentDistributedEvent",
    "PaymentProcessedEvent",
)
_EVENTS = {hashlib.sha256(f"event:{name}".encode()).digest()[:8]: name for name in _NAMES}
_INVOKED = re.compile(r"Program (\w+) invoke \[(\d+)\]")
_ENDED = re.compile(r"Program \w+ (?:success|failed: .*)")
_DATA = "Program data: "


def read(chain: DevChain, programs: Programs, mint: Pubkey, wallets: Iterable[str]) -> ChainLedger:
    """Events of ``programs`` in the order of the blocks, and what ``wallets`` hold of ``mint``, all finalized."""
    last = chain.slot_at("finalized")
    ours = {str(programs.of(name)) for name in ("node_registry", "job_receipt", "payment_splitter")}
    events: list[SeenEvent] = []
    transactions = 0
    for slot in chain.blocks.between(0, last):
        block = chain.blocks.get(slot)
        assert block is not None
        for landed in block.landed:
            transactions += 1
            if landed.err is None:
                for key, data in emitted(str(landed.signature), landed.logs, ours):
                    name = _EVENTS.get(data[:8], "")
                    events.append(SeenEvent(key, name, slot, _amounts(name, data)))
    held = {}
    for wallet in sorted(wallets):
        account = chain.account(token_address(Pubkey.from_string(wallet), mint), "finalized")
        found = tokens.token_account(account)
        held[wallet] = found.amount if found is not None else 0
    return ChainLedger(last, transactions, events, held)


@dataclass(slots=True)
class _Frame:
    program: str
    inner: int
    emitted: int = 0


def emitted(signature: str, logs: Sequence[str], programs: set[str]) -> Iterator[tuple[Key, bytes]]:
    """What ``programs`` emitted in one transaction, with the place of each."""
    outer = inner = -1
    stack: list[_Frame] = []
    for line in logs:
        if invoked := _INVOKED.fullmatch(line):
            outer, inner = (outer + 1, -1) if invoked[2] == "1" else (outer, inner + 1)
            stack.append(_Frame(invoked[1], inner))
        elif _ENDED.fullmatch(line):
            stack.pop()
        elif line.startswith(_DATA) and stack[-1].program in programs:
            frame = stack[-1]
            yield (signature, frame.program, outer, frame.inner, frame.emitted), b64decode(line[len(_DATA) :])
            frame.emitted += 1


def _amounts(name: str, data: bytes) -> tuple[int, ...]:
    """The u64 amounts of a payment event, in the order of its fields; none of another."""
    if name == "PaymentDistributedEvent":
        # A string of the job's id comes first.
        start, count = 12 + int.from_bytes(data[8:12], "little"), 3
    elif name == "PaymentProcessedEvent":
        start, count = 8, 5
    else:
        return ()
    return tuple(int.from_bytes(data[start + 8 * n : start + 8 * n + 8], "little") for n in range(count))
