"""A LiteSVM with the emitter in it, and the accounts and events of the programs read and written by hand."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from solders.account import Account
from solders.clock import Clock
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.token.state import Mint, TokenAccount, TokenAccountState
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from app.chain.devchain.emitter import JOB_SPACE, program

TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
SYSTEM = Pubkey.default()
NOW = 1_700_000_123
RICH = 10**12


@dataclass(frozen=True, slots=True)
class Landed:
    """What became of a transaction. ``error``: as RPC has it. ``events``: (program, bytes) by the invocation lines."""

    error: Any
    logs: list[str]
    units: int
    inner: list[list[Any]]

    @property
    def code(self) -> int | None:
        """The custom code of a failed instruction."""
        return int(self.error["InstructionError"][1]["Custom"]) if self.error else None

    @property
    def events(self) -> list[tuple[Pubkey, bytes]]:
        stack: list[Pubkey] = []
        found = []
        for line in self.logs:
            word = line.split()
            if line.startswith("Program data: "):
                found.append((stack[-1], base64.b64decode(line.removeprefix("Program data: "))))
            elif word[2:3] == ["invoke"]:
                stack.append(Pubkey.from_string(word[1]))
            elif word[0] == "Program" and (word[2:] == ["success"] or word[2:3] == ["failed:"]):
                stack.pop()
        return found


class Machine:
    """``id``: the program most tests call; ``payer`` signs every transaction."""

    def __init__(self, *ids: Pubkey) -> None:
        self.svm = LiteSVM()
        self.id = ids[0] if ids else Keypair().pubkey()
        for key in ids or (self.id,):
            self.svm.add_program(key, program())
        self.payer = Keypair()
        self.svm.airdrop(self.payer.pubkey(), RICH)
        self.svm.set_clock(Clock(7, 0, 0, 0, NOW))

    def send(self, *instructions: Instruction, signers: Sequence[Keypair] = ()) -> Landed:
        self.svm.expire_blockhash()
        blockhash = self.svm.latest_blockhash()
        message = Message.new_with_blockhash(instructions, self.payer.pubkey(), blockhash)
        result = self.svm.send_transaction(Transaction([self.payer, *signers], message, blockhash))
        failed = isinstance(result, FailedTransactionMetadata)
        meta: TransactionMetadata = result.meta() if isinstance(result, FailedTransactionMetadata) else result
        error = json.loads(result.to_json())["err"] if failed else None
        return Landed(error, meta.logs(), meta.compute_units_consumed(), list(meta.inner_instructions()))

    def call(self, data: bytes, *accounts: AccountMeta, signers: Sequence[Keypair] = ()) -> Landed:
        return self.send(Instruction(self.id, data, list(accounts)), signers=signers)

    def account(self, data: bytes, owner: Pubkey | None = None, key: Pubkey | None = None) -> Pubkey:
        key = key or Keypair().pubkey()
        lamports = self.svm.minimum_balance_for_rent_exemption(len(data))
        self.svm.set_account(key, Account(lamports, data, owner or self.id))
        return key

    def data(self, key: Pubkey) -> bytes:
        found = self.svm.get_account(key)
        assert found is not None
        return found.data

    def tokens(self, mint: Pubkey, owner: Pubkey, amount: int) -> Pubkey:
        state = TokenAccount(mint, owner, amount, None, TokenAccountState.Initialized, None, 0, None)
        return self.account(bytes(state), TOKEN)

    def mint(self) -> Pubkey:
        return self.account(bytes(Mint(None, 2**64 - 1, 9, True, None)), TOKEN)

    def balance(self, key: Pubkey) -> int:
        return TokenAccount.from_bytes(self.data(key)).amount


def w(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=False, is_writable=True)


def r(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=False, is_writable=False)


def s(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=True, is_writable=False)


def text(value: str) -> bytes:
    """Borsh."""
    return struct.pack("<I", len(value.encode())) + value.encode()


def i64(value: int) -> bytes:
    return struct.pack("<q", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


@dataclass(slots=True)
class Job:
    """A JobAccount, written down field by field."""

    job_id: str = "job_1"
    client: Pubkey = field(default_factory=Pubkey.new_unique)
    assigned_node: Pubkey = field(default_factory=Pubkey.default)
    job_type: int = 0
    price: int = 1_000_000_000
    requirements_hash: str = "a" * 64
    created_at: int = 1_600_000_000
    completed_at: int = 0
    status: int = 0
    result_hash: str = ""
    logs_url: str = ""
    payment_settled: bool = False
    bump: int = 254

    def __bytes__(self) -> bytes:
        return b"".join(
            [
                bytes([91, 16, 162, 5, 45, 210, 125, 65]),
                text(self.job_id),
                bytes(self.client),
                bytes(self.assigned_node),
                bytes([self.job_type]),
                u64(self.price),
                text(self.requirements_hash),
                i64(self.created_at),
                i64(self.completed_at),
                bytes([self.status]),
                text(self.result_hash),
                text(self.logs_url),
                bytes([self.payment_settled, self.bump]),
            ]
        )

    def space(self, size: int = JOB_SPACE) -> bytes:
        """The account's data, padded as Anchor allocates it."""
        return bytes(self).ljust(size, b"\0")
