"""Acting on a local chain as programs' users do: signed transactions that change accounts and emit events."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from solders.account import Account
from solders.compute_budget import set_compute_unit_limit
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from app.chain.devchain.borsh import program
from app.chain.devchain.chain import DevChain
from app.chain.devchain.config import JOB_RECEIPT, NODE_REGISTRY, PAYMENT_SPLITTER
from app.chain.devchain.emitter import EVENT_CPI_TAG, Op, record
from app.chain.devchain.money import Money, keypair
from app.chain.devchain.records import Landed

_SEED_BYTES = 32
_PURSE = 10**12
_LEAST_UNITS = 300_000
_MOST_SENT = 1_000_000


class Style(StrEnum):
    """How an action is done on chain."""

    NATIVE = "native"
    """By the program's own instruction: it checks, writes its account and emits, with the chain's time."""
    RECORDS = "records"
    """The same state and event, dictated to the emitter: nothing is checked."""
    CPI = "cpi"
    """As RECORDS, with the event emitted by the program when another one calls it."""
    EMIT_CPI = "emit_cpi"
    """As RECORDS, with the event as the data of a call to itself, as ``emit_cpi!`` does."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Ids of the network's programs."""

    node_registry: Pubkey = field(default_factory=lambda: Pubkey.from_string(NODE_REGISTRY))
    job_receipt: Pubkey = field(default_factory=lambda: Pubkey.from_string(JOB_RECEIPT))
    payment_splitter: Pubkey = field(default_factory=lambda: Pubkey.from_string(PAYMENT_SPLITTER))

    def of(self, name: str) -> Pubkey:
        key: Pubkey = getattr(self, name)
        return key


@dataclass(frozen=True, slots=True)
class Act:
    """An instruction of a program by name, and the account it leaves behind (the first of ``metas``)."""

    program: str
    instruction: str
    arguments: dict[str, Any]
    metas: list[AccountMeta]
    account: str
    state: dict[str, Any]


def address_of(prefix: bytes, owner: Pubkey, name: str | bytes, owner_program: Pubkey) -> tuple[Pubkey, int]:
    """A program's address for an id, and its bump."""
    seed = name if isinstance(name, bytes) else name.encode()
    if len(seed) > _SEED_BYTES:
        # No real account can have such an id.
        seed = hashlib.sha256(seed).digest()
    return Pubkey.find_program_address([prefix, bytes(owner), seed], owner_program)


class Actor:
    """What all actions on the network have in common. ``style`` is that of actions that name none."""

    def __init__(self, chain: DevChain, programs: Programs | None = None, style: Style = Style.NATIVE) -> None:
        self.chain = chain
        self.programs = programs or Programs()
        self.style = style
        self.money = Money(chain)
        self.treasury = keypair("treasury").pubkey()
        self.incentive = keypair("incentive").pubkey()
        self.orchestrator = keypair("orchestrator").pubkey()
        self._sent = 0
        self._caller: Pubkey | None = None

    def wallet(self, name: str, hyper: int = 0) -> Keypair:
        """A wallet by name with lamports to spend and ``hyper`` base units of HYPER more."""
        key = keypair(name, self.chain.config.seed)
        if self.chain.account(key.pubkey()) is None:
            self.chain.airdrop(key.pubkey(), _PURSE)
        if hyper:
            self.money.give(key.pubkey(), hyper)
        return key

    def event(self, name: str, event: str, values: dict[str, Any]) -> bytes:
        """An event of the program ``name`` as bytes, discriminator first; ``timestamp`` is now unless given."""
        return program(name).events[event].encode({"timestamp": self.now, **values})

    def emit(
        self,
        name: str,
        data: bytes,
        *,
        signer: Keypair | None = None,
        style: Style = Style.RECORDS,
        accounts: list[AccountMeta] | None = None,
        before: bytes = b"",
        more: list[Instruction] | None = None,
    ) -> Landed:
        """Emit ``data`` from the program ``name``. ``before``: records that run first; ``more``: further steps."""
        signer = signer or self.wallet("authority")
        steps = self._emitting(self.programs.of(name), data, accounts or [], style, before)
        return self._send([*steps, *(more or [])], [signer])

    @property
    def now(self) -> int:
        """The chain's time, in Unix seconds: that of the open block."""
        return self.chain.blocks.open.time

    def place(self, address: Pubkey, space: int, owner: Pubkey) -> None:
        """Give a program's account its place, which the real programs do by themselves."""
        if self.chain.account(address) is None:
            rent = self.chain.bank.svm.minimum_balance_for_rent_exemption(space)
            self.chain.set_account(address, Account(rent, bytes(space), owner))

    def state(self, address: Pubkey, name: str, kind: str) -> dict[str, Any]:
        """The fields of an account of kind ``kind`` of the program ``name``. Raises ValueError when there is none."""
        account = self.chain.account(address)
        if account is None:
            raise ValueError(f"there is no {kind} at {address}")
        return program(name).accounts[kind].decode(account.data)

    def do(
        self,
        act: Act,
        event: str,
        values: dict[str, Any],
        signers: list[Keypair],
        style: Style | None,
        more: list[Instruction] | None = None,
    ) -> Landed:
        """Carry out an action that emits ``event`` of its program. ``more``: steps of the same transaction."""
        key, style = self.programs.of(act.program), style or self.style
        if style is Style.NATIVE:
            data = program(act.program).instructions[act.instruction].encode(act.arguments)
            steps = [Instruction(key, data, act.metas)]
        else:
            state = program(act.program).accounts[act.account].encode(act.state)
            write = record(bytes(4) + state, Op.WRITE)
            steps = self._emitting(key, self.event(act.program, event, values), act.metas, style, write)
        return self._send([*steps, *(more or [])], signers)

    def _send(self, steps: list[Instruction], signers: list[Keypair]) -> Landed:
        self._sent += 1
        # The last step is another one every time, so that doing the same twice is two transactions.
        distinct = set_compute_unit_limit(_LEAST_UNITS + self._sent % _MOST_SENT)
        return self.chain.send(self.chain.sign([*steps, distinct], signers), verify=False)

    def _emitting(
        self, key: Pubkey, data: bytes, metas: list[AccountMeta], style: Style, before: bytes
    ) -> list[Instruction]:
        if style is Style.CPI:
            call = record(bytes(key) + record(data), Op.INVOKE)
            calling = Instruction(self._outer(), call, [*metas, AccountMeta(key, False, False)])
            return [*([Instruction(key, before, metas)] if before else []), calling]
        if style is Style.EMIT_CPI:
            call = record(bytes(key) + EVENT_CPI_TAG + data, Op.INVOKE)
            return [Instruction(key, before + call, [*metas, AccountMeta(key, False, False)])]
        return [Instruction(key, before + record(data), metas)]

    def _outer(self) -> Pubkey:
        """A foreign program that calls ours."""
        if self._caller is None:
            self._caller = keypair("a foreign program").pubkey()
            self.chain.deploy(self._caller)
        return self._caller
