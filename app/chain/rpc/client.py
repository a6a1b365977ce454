"""The RPC methods the engine uses, typed. Everything else goes through ``call`` and ``many``."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final, Literal

from app.chain.rpc import records
from app.chain.rpc.caller import Caller, from_slot
from app.chain.rpc.errors import RpcError, RpcUnavailable
from app.chain.rpc.records import AccountInfo, SignatureInfo, Status

PAGE: Final = 1000
"""Signatures in one answer at most."""
_ACCOUNTS_AT_ONCE = 100
_STATUSES_AT_ONCE = 256
_INVALID_PARAMS = -32602
_HIGHEST_VERSION = 127
"""The version is seven bits of a transaction's first byte; nodes mean to refuse more (anza-xyz/agave#8159)."""


class RpcClient(Caller):
    """Typed calls; each raises RpcError for the node's answer and RpcUnavailable when no endpoint gives one."""

    _version = _HIGHEST_VERSION

    async def slot(self, commitment: str = "confirmed") -> int:
        return await self._ask("getSlot", [{"commitment": commitment}], records.whole)

    async def block_height(self, commitment: str = "confirmed") -> int:
        return await self._ask("getBlockHeight", [{"commitment": commitment}], records.whole)

    async def block_time(self, slot: int) -> int | None:
        """Unix seconds, None when the node does not know; RpcError for a skipped slot."""
        return await self._ask("getBlockTime", [slot], records.whole_or_none)

    async def health(self) -> bool:
        """Whether an endpoint says that it is well; each is asked once."""
        try:
            return await self._ask("getHealth", [], records.text, tries=len(self._lanes)) == "ok"
        except (RpcError, RpcUnavailable):
            return False

    async def signatures(
        self,
        address: str,
        *,
        before: str = "",
        until: str = "",
        limit: int = PAGE,
        commitment: str = "confirmed",
        min_slot: int | None = None,
    ) -> list[SignatureInfo]:
        """Transactions that mention ``address``, newest first: after ``before`` down to, without, ``until``.

        An empty page may also be a node's that has not got that far: see ``min_slot``. One malformed entry comes back
        as such, see SignatureInfo.
        """
        config: dict[str, Any] = {"limit": limit, "commitment": commitment}
        config |= {name: value for name, value in (("before", before), ("until", until)) if value}
        return await self._ask("getSignaturesForAddress", from_slot([address, config], min_slot), records.signatures)

    async def transactions(
        self, signatures: Sequence[str], *, commitment: str = "confirmed", encoding: Literal["json", "base64"] = "json"
    ) -> list[dict[str, Any] | RpcError | None]:
        """One per signature, as the node has it (any version); None where it has none *yet*.

        ``encoding``: base64 is half the work to read, json needs no parser that knows the message's version.
        """
        found = await self._transactions(signatures, commitment, encoding, self._version)
        # A node that does not accept so high a version refuses the parameters; so does one given no signature.
        again = [at for at, said in enumerate(found) if isinstance(said, RpcError) and said.code == _INVALID_PARAMS]
        if again and self._version:
            for at, said in zip(
                again, await self._transactions([signatures[at] for at in again], commitment, encoding, 0), strict=True
            ):
                found[at] = said
                if not isinstance(said, RpcError):
                    self._version = 0
        return found

    async def accounts(
        self, addresses: Sequence[str], *, commitment: str = "confirmed", min_slot: int | None = None
    ) -> list[AccountInfo | None]:
        """One per address, None where there is no account. More than 100 come from several answers, and slots."""
        config = {"encoding": "base64", "commitment": commitment}

        async def ask(chunk: Sequence[str]) -> list[AccountInfo | None]:
            params = from_slot([chunk, config], min_slot)
            return await self._ask("getMultipleAccounts", params, lambda said: records.accounts(said, len(chunk)))

        return await self._chunks(addresses, _ACCOUNTS_AT_ONCE, ask)

    async def statuses(self, signatures: Sequence[str], *, search_history: bool = True) -> list[Status | None]:
        """One per signature, None where the node knows of none."""
        config = {"searchTransactionHistory": search_history}

        async def ask(chunk: Sequence[str]) -> list[Status | None]:
            return await self._ask(
                "getSignatureStatuses", [chunk, config], lambda said: records.statuses(said, len(chunk))
            )

        return await self._chunks(signatures, _STATUSES_AT_ONCE, ask)

    async def latest_blockhash(self, commitment: str = "confirmed") -> tuple[str, int]:
        """A blockhash (base58) and the last block height at which a transaction on it can land."""
        return await self._ask("getLatestBlockhash", [{"commitment": commitment}], records.latest_blockhash)

    async def send(self, wire: bytes, *, skip_preflight: bool = False, commitment: str = "confirmed") -> str:
        """Hand in a signed transaction; returns its signature, which is no promise that it lands.

        Safe to repeat with the same bytes, and repeated here when an answer is lost. RpcError -32002 carries the
        simulation in ``data``; its ``err`` "AlreadyProcessed" may mean that an earlier try arrived.
        """
        config = {"encoding": "base64", "skipPreflight": skip_preflight, "preflightCommitment": commitment}
        return await self._ask("sendTransaction", [b64encode(wire).decode(), config], records.signature)

    async def token_balance(self, account: str, *, commitment: str = "confirmed") -> int:
        """Base units in a token account; RpcError when it is none."""
        return await self._ask("getTokenAccountBalance", [account, {"commitment": commitment}], records.token_balance)

    async def _transactions(
        self, signatures: Sequence[str], commitment: str, encoding: str, version: int
    ) -> list[dict[str, Any] | RpcError | None]:
        config = {"encoding": encoding, "commitment": commitment, "maxSupportedTransactionVersion": version}
        return await self._many("getTransaction", [[each, config] for each in signatures], records.transaction)
