"""What nodes say of transactions that are ours: tried out, handed in, landed or not."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from app.chain.rpc import RpcClient, RpcError, RpcUnavailable

log = logging.getLogger(__name__)

MAX_SIGNATURES = 256
"""As many as getSignatureStatuses takes."""


class Status(msgspec.Struct, frozen=True):
    """A transaction that has landed. ``err``: None for success."""

    err: Any = None
    confirmationStatus: str | None = None  # noqa: N815

    @property
    def final(self) -> bool:
        return self.confirmationStatus == "finalized"


@dataclass(frozen=True, slots=True)
class Standing:
    """``statuses``: one per signature, None where the node knows of none. ``dead_below``: what the node does not know
    and could land up to a lower block height can never land; -1 when nothing of the kind can be said.
    """

    statuses: list[Status | None]
    dead_below: int


class Trial(msgspec.Struct, frozen=True):
    """What a transaction would do. ``err``: None for success."""

    err: Any = None
    logs: list[str] | None = None

    @property
    def ran(self) -> bool:
        """Whether the instructions were run, one of which failed; else the transaction as such was refused."""
        return isinstance(self.err, dict) and "InstructionError" in self.err


async def standing(rpc: RpcClient, signatures: Sequence[str]) -> Standing:
    """Where at most MAX_SIGNATURES transactions stand. Raises RpcError and RpcUnavailable."""
    # Slot and height of one block, by one answer, and before the statuses: another node may answer each time.
    final = _as(_Final, await rpc.call("getEpochInfo", [{"commitment": "finalized"}]))
    found = _as(
        _Statuses, await rpc.call("getSignatureStatuses", [list(signatures), {"searchTransactionHistory": True}])
    )
    if len(found.value) != len(signatures):
        raise RpcUnavailable("a node gave another number of statuses than it was asked for")
    # A node that has not seen that block may not have seen either what landed before it.
    return Standing(found.value, final.blockHeight if found.context.slot >= final.absoluteSlot else -1)


async def failure_logs(rpc: RpcClient, signatures: Sequence[str]) -> list[list[str]]:
    """The logs of landed transactions, as far as the node has them. Raises RpcUnavailable."""
    found = await rpc.transactions(signatures)
    return [((one.get("meta") or {}).get("logMessages") if isinstance(one, dict) else None) or [] for one in found]


async def tried(rpc: RpcClient, wires: Sequence[bytes], min_slot: int) -> list[Trial | RpcError]:
    """What these transactions would do after ``min_slot``; nothing is sent. Raises RpcUnavailable."""
    config: dict[str, Any] = {
        "encoding": "base64",
        "sigVerify": False,
        # Whether the node knows the blockhash yet says nothing about the transaction.
        "replaceRecentBlockhash": True,
        "commitment": "confirmed",
        "minContextSlot": min_slot,
    }
    answers = await rpc.many("simulateTransaction", [[_text(wire), config] for wire in wires])
    return [one if isinstance(one, RpcError) else _as(_Trials, one).value for one in answers]


async def hand_in(rpc: RpcClient, wires: Sequence[bytes]) -> None:
    """Have transactions forwarded to the leaders. Raises RpcUnavailable.

    Preflight is skipped, and what the node says is for the log alone: its refusal would say nothing about the same
    bytes that it, or another one, took before.
    """
    config = {"encoding": "base64", "skipPreflight": True}
    for answer in await rpc.many("sendTransaction", [[_text(wire), config] for wire in wires]):
        if isinstance(answer, RpcError):
            log.warning("a node would not take a transaction: %s", answer)


class _Final(msgspec.Struct):
    absoluteSlot: int  # noqa: N815
    blockHeight: int  # noqa: N815


class _Context(msgspec.Struct):
    slot: int


class _Statuses(msgspec.Struct):
    context: _Context
    value: list[Status | None]


class _Trials(msgspec.Struct):
    value: Trial


T = TypeVar("T")


def _as(kind: type[T], answer: Any) -> T:
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise RpcUnavailable(f"a node's answer makes no sense: {error}") from error


def _text(wire: bytes) -> str:
    return b64encode(wire).decode()
