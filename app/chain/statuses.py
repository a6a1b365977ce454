"""What a node knows of transactions, held against how far that very node is."""

from __future__ import annotations

from collections.abc import Sequence

from app.chain.rpc import RpcClient, RpcUnavailable, Status, records

STATUSES_AT_ONCE = 256
"""Signatures that getSignatureStatuses takes."""


async def statuses_at(rpc: RpcClient, signatures: Sequence[str]) -> tuple[int, list[Status | None]]:
    """The slot that the answering node is at, and one status per signature: only up to that slot, None says that the
    transaction is not on its fork. For at most STATUSES_AT_ONCE signatures; raises RpcError and RpcUnavailable."""
    answer = await rpc.call("getSignatureStatuses", [signatures, {"searchTransactionHistory": True}])
    context = answer.get("context") if isinstance(answer, dict) else None
    slot = context.get("slot") if isinstance(context, dict) else None
    try:
        return slot if type(slot) is int else 0, records.statuses(answer, len(signatures))
    except ValueError as error:
        raise RpcUnavailable("the node gave malformed statuses") from error
