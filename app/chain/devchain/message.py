"""What a transaction's message says about accounts: all keys in order, which may be written, which were looked up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from solders.account import Account
from solders.address_lookup_table_account import AddressLookupTable
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.transaction import Transaction, VersionedTransaction

Read: TypeAlias = Callable[[Pubkey], Account | None]
AnyTransaction: TypeAlias = VersionedTransaction | Transaction | bytes


class MalformedTransaction(ValueError):
    """The bytes are no transaction, or one whose parts contradict each other."""


@dataclass(frozen=True, slots=True)
class Keys:
    """``all``: as instruction indexes count them: the message's own, then looked up writable, then looked up readonly.

    ``written``: those that may change. ``version``: -1 for legacy.
    """

    all: list[Pubkey]
    written: list[Pubkey]
    looked_up: tuple[list[Pubkey], list[Pubkey]]
    version: int


def parse(transaction: AnyTransaction) -> VersionedTransaction:
    """The transaction, well-formed, signed or not. Raises MalformedTransaction."""
    if isinstance(transaction, Transaction):
        transaction = bytes(transaction)
    try:
        parsed = VersionedTransaction.from_bytes(transaction) if isinstance(transaction, bytes) else transaction
        parsed.sanitize()
    except ValueError as error:
        raise MalformedTransaction(str(error)) from error
    # SanitizeError is no ValueError, and solders exports it nowhere that types know.
    except Exception as error:
        raise MalformedTransaction(f"{type(error).__name__}: {error}") from error
    if not isinstance(parsed.message, Message | MessageV0):
        raise MalformedTransaction("transactions of version 1 are not accepted here")
    return parsed


def keys_of(transaction: VersionedTransaction, read: Read) -> Keys:
    """The keys of ``transaction``; ``read`` finds lookup tables. Tables that cannot be read add nothing."""
    message = transaction.message
    own = message.account_keys
    header = message.header
    signed, count = header.num_required_signatures, len(own)
    written = own[: signed - header.num_readonly_signed_accounts]
    written += own[signed : count - header.num_readonly_unsigned_accounts]
    if not isinstance(message, MessageV0):
        return Keys(own, written, ([], []), -1)
    writable: list[Pubkey] = []
    readonly: list[Pubkey] = []
    for lookup in message.address_table_lookups:
        table = read(lookup.account_key)
        if table is None:
            continue
        addresses = AddressLookupTable.deserialize(table.data).addresses
        writable += [addresses[index] for index in lookup.writable_indexes if index < len(addresses)]
        readonly += [addresses[index] for index in lookup.readonly_indexes if index < len(addresses)]
    return Keys(own + writable + readonly, written + writable, (writable, readonly), 0)


def is_written(transaction: VersionedTransaction, index: int) -> bool:
    """Whether the message lets the key of its own at ``index`` be written."""
    message = transaction.message
    header, count = message.header, len(message.account_keys)
    signed = header.num_required_signatures
    if index < signed:
        return index < signed - header.num_readonly_signed_accounts
    return index < count - header.num_readonly_unsigned_accounts
