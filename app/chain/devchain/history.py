"""Which transactions there were: by signature, and by every account they name."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import msgspec
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from app.chain.devchain.records import Landed


class _Loaded(msgspec.Struct):
    writable: list[str]
    readonly: list[str]


class _Meta(msgspec.Struct):
    loadedAddresses: _Loaded  # noqa: N815


def mentioned(landed: Landed) -> list[Pubkey]:
    """Every account that a landed transaction names, looked up ones included, in the order of its indexes."""
    keys = VersionedTransaction.from_bytes(landed.raw).message.account_keys
    if landed.version >= 0:
        loaded = msgspec.json.decode(landed.meta, type=_Meta).loadedAddresses
        keys += [Pubkey.from_string(key) for key in (*loaded.writable, *loaded.readonly)]
    return keys


class History:
    """Landed transactions, each list in the order of the ledger."""

    def __init__(self) -> None:
        self._signatures: dict[Signature, Landed] = {}
        self._addresses: dict[Pubkey, list[Landed]] = {}

    def __len__(self) -> int:
        return len(self._signatures)

    def __contains__(self, signature: Signature) -> bool:
        return signature in self._signatures

    def get(self, signature: Signature) -> Landed | None:
        return self._signatures.get(signature)

    def add(self, landed: Landed, keys: Iterable[Pubkey]) -> None:
        self._signatures[landed.signature] = landed
        addresses = self._addresses
        for key in keys:
            known = addresses.get(key)
            if known is None:
                addresses[key] = [landed]
            else:
                known.append(landed)

    def remove(self, abandoned: Sequence[Landed]) -> None:
        """Take out the newest transactions, which a fork has abandoned."""
        for landed in reversed(abandoned):
            del self._signatures[landed.signature]
            for key in mentioned(landed):
                known = self._addresses[key]
                known.pop()
                if not known:
                    del self._addresses[key]

    def of(self, address: Pubkey, newest: int) -> list[Landed]:
        """All transactions that name ``address`` up to slot ``newest``, oldest first."""
        known = self._addresses.get(address, [])
        return known[: bisect_left(known, (newest + 1, 0), key=_place)]

    def page(
        self, address: Pubkey, newest: int, before: Signature | None, until: Signature | None, limit: int
    ) -> list[Landed]:
        """At most ``limit`` transactions that name ``address``, newest first: older than ``before``, younger than
        ``until``. An unknown ``before`` gives none, an unknown ``until`` has no effect, as on a node.
        """
        known = self._addresses.get(address, [])
        end = bisect_left(known, (newest + 1, 0), key=_place)
        start = 0
        if before is not None:
            mark = self._signatures.get(before)
            if mark is None or mark.slot > newest:
                return []
            end = bisect_left(known, mark.place, key=_place)
        if until is not None and (mark := self._signatures.get(until)) is not None:
            start = bisect_left(known, (mark.slot, mark.index + 1), key=_place)
        start = max(start, end - limit)
        return known[start:end][::-1]


def _place(landed: Landed) -> tuple[int, int]:
    return landed.slot, landed.index
