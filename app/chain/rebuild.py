"""What a transaction says besides its logs, and the event that each known instruction comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.chain.decode import DecodeError
from app.chain.model import Instruction, Transaction
from app.chain.programs import Programs, instruction_names

_PAYMENTS = frozenset({"settle_job", "process_payment"})


class Lost(Exception):
    """What is missing to rebuild an event."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The transaction, and the state of accounts that our programs own, by address."""

    tx: Transaction
    accounts: Mapping[str, bytes | None]
    programs: Programs

    def state(self, program: str, address: str) -> dict[str, Any] | None:
        """The fields of an account, None if it is gone, unknown or not one of ``program``."""
        raw, decoder = self.accounts.get(address), self.programs.decoder_of(program)
        if raw is None or decoder is None:
            return None
        try:
            return decoder.account(raw)[1]
        except DecodeError:
            return None

    def nodes(self) -> list[dict[str, Any]]:
        """The states that are nodes'."""
        states = (self.state(self.programs.node_registry, address) for address in self.accounts)
        return [one for one in states if one is not None and "node_id" in one]

    def time(self) -> int:
        """The block's. Raises Lost."""
        if self.tx.block_time is None:
            raise Lost("the block's time is unknown")
        return self.tx.block_time

    def name_at(self, program: str, address: str, name: str) -> str:
        """The id (``name``) of the job or node at ``address``: from its state, or from the instruction that made it
        in this transaction. Raises Lost."""
        state = self.state(program, address)
        if state is not None and name in state:
            return str(state[name])
        decoder = self.programs.decoder_of(program)
        for instruction in self._invocations():
            if decoder is None or instruction.program != program or instruction.accounts[:1] != (address,):
                continue
            if instruction_names().get(instruction.data[:8]) in ("create_job", "register_node"):
                try:
                    return str(decoder.instruction(instruction.data)[1][name])
                except DecodeError:
                    continue
        raise Lost(f"the state of {address} is not to be had")

    def changes(self) -> dict[str, int]:
        """What each token account gained or lost in the whole transaction, in base units."""
        found: dict[str, int] = {}
        for sign, balances in ((-1, self.tx.pre_balances), (1, self.tx.post_balances)):
            for one in balances:
                found[one.account] = found.get(one.account, 0) + sign * one.amount
        return found

    def gains(self, *paid: str) -> list[int]:
        """What these accounts gained, provided that it was in one payment. Raises Lost."""
        ours = self.programs.ids
        payments = [
            one.accounts
            for one in self._invocations()
            if one.program in ours and instruction_names().get(one.data[:8]) in _PAYMENTS
        ]
        changes = self.changes()
        for account in paid:
            if account not in changes:
                raise Lost(f"no token balance of {account}")
            if changes[account] < 0:
                raise Lost(f"{account} lost tokens")
            if paid.count(account) > 1 or sum(account in one for one in payments) != 1:
                raise Lost(f"{account} was paid more than once")
        return [changes[account] for account in paid]

    def _invocations(self) -> list[Instruction]:
        tx = self.tx
        return [one for outer, top in enumerate(tx.instructions) for one in (top, *tx.inner.get(outer, ()))]


@dataclass(frozen=True, slots=True)
class Call:
    """A known instruction: its arguments, and its accounts by name. Raises KeyError for an account not passed."""

    evidence: Evidence
    instruction: Instruction
    arguments: dict[str, Any]
    accounts: dict[str, str]

    def job_id(self) -> str:
        return self.evidence.name_at(self.instruction.program, self.accounts["job_account"], "job_id")

    def node_id(self) -> str:
        return self.evidence.name_at(self.instruction.program, self.accounts["node_account"], "node_id")

    def data(self, **fields: Any) -> dict[str, Any]:
        return {**fields, "timestamp": self.evidence.time()}

    def paid(self, **accounts: str) -> dict[str, int]:
        """Amounts by field, given the names of the accounts that were paid."""
        gains = self.evidence.gains(*(self.accounts[name] for name in accounts.values()))
        return dict(zip(accounts, gains, strict=True))


def _create_job(call: Call) -> dict[str, Any]:
    given = call.arguments
    return call.data(
        job_id=given["job_id"], client=call.accounts["client"], job_type=given["job_type"], price=given["price"]
    )


def _assign_job(call: Call) -> dict[str, Any]:
    operator = call.accounts["node_operator"]
    return call.data(job_id=call.job_id(), node_id=call.arguments["node_id"], node_operator=operator)


def _submit_result(call: Call) -> dict[str, Any]:
    return call.data(job_id=call.job_id(), operator=call.accounts["operator"], **call.arguments)


def _settle_job(call: Call) -> dict[str, Any]:
    paid = call.paid(
        operator_amount="operator_token_account",
        treasury_amount="treasury_token_account",
        incentive_amount="incentive_pool_account",
    )
    return call.data(job_id=call.job_id(), **paid)


def _process_payment(call: Call) -> dict[str, Any]:
    paid = call.paid(
        operator_amount="operator_token_account",
        treasury_amount="treasury_token_account",
        incentive_amount="incentive_pool_account",
        orchestrator_amount="orchestrator_token_account",
    )
    return call.data(total_amount=call.arguments["amount"], **paid)


EVENTS: Mapping[str, tuple[str, Callable[[Call], dict[str, Any]]]] = {
    "create_job": ("JobCreatedEvent", _create_job),
    "assign_job": ("JobAssignedEvent", _assign_job),
    "submit_result": ("JobCompletedEvent", _submit_result),
    "settle_job": ("PaymentDistributedEvent", _settle_job),
    "cancel_job": (
        "JobCancelledEvent",
        lambda call: call.data(job_id=call.job_id(), client=call.accounts["client"]),
    ),
    "register_node": (
        "NodeRegistered",
        lambda call: call.data(node_id=call.arguments["node_id"], owner=call.accounts["owner"]),
    ),
    "update_node_status": (
        "NodeStatusUpdated",
        lambda call: call.data(node_id=call.node_id(), status=call.arguments["status"]),
    ),
    "deregister_node": (
        "NodeDeregistered",
        lambda call: call.data(node_id=call.node_id(), owner=call.accounts["owner"]),
    ),
    "initialize": (
        "SplitterInitializedEvent",
        lambda call: call.data(authority=call.accounts["authority"], **call.arguments),
    ),
    "update_config": ("ConfigUpdatedEvent", lambda call: call.data(**call.arguments)),
    "process_payment": ("PaymentProcessedEvent", _process_payment),
    "withdraw_treasury": (
        "TreasuryWithdrawalEvent",
        lambda call: call.data(amount=call.arguments["amount"], destination=call.accounts["destination_token_account"]),
    ),
}
"""The event, and its data, of each instruction that emits one; the others emit none. They raise Lost and KeyError."""

NEED_STATE = frozenset(
    {"assign_job", "submit_result", "settle_job", "cancel_job", "update_node_status", "deregister_node"}
)
"""The instructions that do not name the job or node: it is that of the first account."""
