"""What is kept of a landed transaction: its bytes and the RPC's ``meta``, encoded once when it lands."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, TypedDict

import msgspec
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import TransactionMetadata

from app.chain.devchain import base58
from app.chain.devchain.message import Keys

encode_json = msgspec.json.encode
_MEMO_PROGRAMS = frozenset(
    Pubkey.from_string(key)
    for key in ("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr", "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo")
)


class Landed:
    """A transaction in a block. ``meta``: JSON as getTransaction has it; ``version``: -1 for legacy.

    ``err``: None for success. ``memo``: as getSignaturesForAddress tells it. Kept small: a backlog has 100,000 of them.
    """

    __slots__ = ("err", "index", "memo", "meta", "raw", "signature", "slot", "version")

    def __init__(
        self,
        signature: Signature,
        slot: int,
        index: int,
        raw: bytes,
        meta: bytes,
        err: Any,
        version: int,
        memo: str | None,
    ) -> None:
        self.signature = signature
        self.slot = slot
        self.index = index
        self.raw = raw
        self.meta = meta
        self.err = err
        self.version = version
        self.memo = memo

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in the ledger, for ordering."""
        return self.slot, self.index

    @property
    def logs(self) -> list[str]:
        return decode_logs(self.meta) or []

    def __repr__(self) -> str:
        return f"Landed({self.signature}, slot={self.slot}, err={self.err!r})"


class _Logs(msgspec.Struct):
    logMessages: list[str] | None  # noqa: N815


def decode_logs(meta: bytes) -> list[str] | None:
    """The log lines in a ``meta``, None where it says null."""
    return msgspec.json.decode(meta, type=_Logs).logMessages


class Before(TypedDict):
    """What has to be read before a transaction runs."""

    lamports: list[int]
    tokens: list[dict[str, Any]]


def meta_json(
    done: TransactionMetadata, err: Any, keys: Keys, before: Before, svm: LiteSVM, tokens: list[dict[str, Any]]
) -> bytes:
    """The ``meta`` of a transaction that has just run on ``svm``; ``tokens``: its token balances now."""
    body: dict[str, Any] = {
        "err": err,
        "status": {"Ok": None} if err is None else {"Err": err},
        "fee": done.fee(),
        "preBalances": before["lamports"],
        "postBalances": lamports(svm, keys),
        "innerInstructions": inner_instructions(done),
        "logMessages": done.logs(),
        "preTokenBalances": before["tokens"],
        "postTokenBalances": tokens,
        "rewards": [],
        "loadedAddresses": {
            "writable": [str(key) for key in keys.looked_up[0]],
            "readonly": [str(key) for key in keys.looked_up[1]],
        },
        "computeUnitsConsumed": done.compute_units_consumed(),
    }
    returned = return_data(done)
    if returned is not None:
        body["returnData"] = returned
    return encode_json(body)


def lamports(svm: LiteSVM, keys: Keys) -> list[int]:
    return [svm.get_balance(key) or 0 for key in keys.all]


def inner_instructions(done: TransactionMetadata) -> list[dict[str, Any]]:
    """By top-level instruction, those that called others; in the compiled form."""
    found = []
    for index, called in enumerate(done.inner_instructions()):
        if called:
            steps = []
            for each in called:
                one = each.instruction()
                steps.append(
                    {
                        "programIdIndex": one.program_id_index,
                        "accounts": list(one.accounts),
                        "data": base58.encode(one.data),
                        "stackHeight": each.stack_height(),
                    }
                )
            found.append({"index": index, "instructions": steps})
    return found


def return_data(done: TransactionMetadata) -> dict[str, Any] | None:
    returned = done.return_data()
    data = bytes(returned.data)
    if not data:
        return None
    return {"programId": str(returned.program_id), "data": [b64encode(data).decode(), "base64"]}


def memo_of(transaction: VersionedTransaction, keys: Sequence[Pubkey]) -> str | None:
    """Memos as getSignaturesForAddress shows them: each with its length."""
    if _MEMO_PROGRAMS.isdisjoint(keys):
        return None
    steps = transaction.message.instructions
    texts = [one.data for one in steps if keys[one.program_id_index] in _MEMO_PROGRAMS]
    return "; ".join(f"[{len(text)}] {text.decode(errors='replace')}" for text in texts) or None
