"""Decoding speed: events a second from the logs of job_receipt's transactions, against Anchor's own JavaScript parser
on the same logs in the same run."""

from __future__ import annotations

import json
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.resources import files
from pathlib import Path
from struct import pack
from typing import Any, NamedTuple

from solders.pubkey import Pubkey
from solders.signature import Signature

from app.chain.decode import Decoder
from app.chain.model import Instruction, Transaction
from app.chain.programs import Programs

PEER = "@coral-xyz/anchor@0.32.1"
INSTALL_TIMEOUT_S = 300.0
REGISTRY = "Fg6PaFpoGXkYsidMpWTK6W2BeZ7FEfcYkg476zPFsLnS"
RECEIPT = "Gx7UjBjVKHNqiQGPzWGVxQb8j4ZKN5cVx5TmPvRfZ8U"
BUDGET = "ComputeBudget111111111111111111111111111111"


def run(*, transactions: int = 20_000, runs: int = 5, peer: bool = True) -> dict[str, float | None]:
    """Medians of ``runs``, taken in turns: ``events_per_s``, ``anchor_js_events_per_s`` and their ``ratio``.

    The last two are None without ``peer``, where node or npm is absent, and where the peer cannot be installed or
    fails. Every transaction holds one event. Raises RuntimeError when the two do not find the same.
    """
    idl = json.loads(files("app.chain").joinpath("idl", "job_receipt.json").read_bytes())
    backlog = made(idl, transactions)
    decoder = Programs(REGISTRY, RECEIPT).decoder
    with _peer(idl, backlog) if peer else nullcontext() as theirs:
        # The first run warms both up and is not counted.
        pairs = [(_measure(decoder, backlog), theirs.measure() if theirs else None) for _ in range(runs + 1)][1:]
    rate = statistics.median(ours.rate for ours, _ in pairs)
    peers = [other for _, other in pairs if other is not None]
    if any((one.events, one.timestamps) != (transactions, pairs[0][0].timestamps) for one in (pairs[0][0], *peers)):
        raise RuntimeError(f"not every one of {transactions} events was decoded, or the two decoded other ones")
    peer_rate = statistics.median(one.rate for one in peers) if len(peers) == runs else None
    return {
        "events_per_s": round(rate, 1),
        "anchor_js_events_per_s": None if peer_rate is None else round(peer_rate, 1),
        "ratio": None if peer_rate is None else round(rate / peer_rate, 2),
    }


class Measured(NamedTuple):
    """Events a second, how many they were, and the sum of their timestamps, by which two decoders are compared."""

    rate: float
    events: int
    timestamps: int


def _measure(decoder: Decoder, backlog: Sequence[Transaction]) -> Measured:
    stamps: list[int] = []
    start = time.perf_counter()
    for one in backlog:
        stamps.extend([event.data["timestamp"] for event in decoder.read(one).events])
    return Measured(len(stamps) / (time.perf_counter() - start), len(stamps), sum(stamps))


def made(idl: dict[str, Any], count: int) -> list[Transaction]:
    """``count`` transactions as a validator logs them, each with an event of its own; every kind in turn."""
    rng = random.Random(7)
    tags = {one["name"]: bytes(one["discriminator"]) for one in idl["events"]}
    kinds = [
        ("CreateJob", tags["JobCreatedEvent"], lambda: _job(rng) + _key(rng) + pack("<BQ", 3, rng.getrandbits(64))),
        ("AssignJob", tags["JobAssignedEvent"], lambda: _job(rng) + _text(f"node-{_hex(rng, 8)}") + _key(rng)),
        ("SubmitResult", tags["JobCompletedEvent"], lambda: _job(rng) + _key(rng) + _result(rng)),
        ("SettleJob", tags["PaymentDistributedEvent"], lambda: _job(rng) + rng.randbytes(24)),
        ("CancelJob", tags["JobCancelledEvent"], lambda: _job(rng) + _key(rng)),
    ]
    return [_transaction(rng, number, *kinds[number % len(kinds)]) for number in range(count)]


def _transaction(rng: random.Random, number: int, name: str, tag: bytes, body: Callable[[], bytes]) -> Transaction:
    event = tag + body() + pack("<q", 1_700_000_000 + number)
    units = rng.randrange(10_000, 60_000)
    logs = (
        f"Program {BUDGET} invoke [1]",
        f"Program {BUDGET} success",
        f"Program {RECEIPT} invoke [1]",
        f"Program log: Instruction: {name}",
        f"Program data: {b64encode(event).decode()}",
        f"Program {RECEIPT} consumed {units} of 199850 compute units",
        f"Program {RECEIPT} success",
    )
    payer = str(Pubkey(rng.randbytes(32)))
    instructions = (Instruction(BUDGET, (), b"\x02\0\0\0\0"), Instruction(RECEIPT, (payer,), rng.randbytes(16)))
    signature = str(Signature(rng.randbytes(64)))
    return Transaction(signature, number, 1_700_000_000, 0, None, (payer, BUDGET, RECEIPT), instructions, {}, logs)


def _text(text: str) -> bytes:
    return pack("<I", len(text)) + text.encode()


def _hex(rng: random.Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def _job(rng: random.Random) -> bytes:
    return _text(f"job_{_hex(rng, 16)}")


def _key(rng: random.Random) -> bytes:
    return rng.randbytes(32)


def _result(rng: random.Random) -> bytes:
    return _text(_hex(rng, 64)) + _text(f"https://logs.example/{_hex(rng, 32)}")


class _Peer:
    """A node process that decodes the same logs whenever it is asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def measure(self) -> Measured | None:
        """None when it has failed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write("again\n")
            self._process.stdin.flush()
            found = json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            return None
        return Measured(found["rate"], found["events"], int(found["timestamps"]))


@contextmanager
def _peer(idl: dict[str, Any], backlog: Sequence[Transaction]) -> Iterator[_Peer | None]:
    """Anchor's parser, installed for the occasion; None where that cannot be done."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="hae-bench-") as scratch:
        directory = Path(scratch)
        (directory / "package.json").write_text('{"private": true}')
        script = directory / "anchor_peer.mjs"
        script.write_bytes(files("app.bench").joinpath("anchor_peer.mjs").read_bytes())
        given = {"idl": idl, "program": RECEIPT, "transactions": [one.logs for one in backlog]}
        (directory / "given.json").write_text(json.dumps(given))
        install = (npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", PEER)
        try:
            subprocess.run(install, cwd=directory, check=True, timeout=INSTALL_TIMEOUT_S, capture_output=True)
        except (OSError, subprocess.SubprocessError):
            yield None
            return
        pipe = subprocess.PIPE
        with subprocess.Popen(
            (node, script.name, "given.json"),
            cwd=directory,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            yield _Peer(process)
            process.kill()
