"""Events that no log shows (logs truncated or not kept), rebuilt from what the transaction itself says.

An instruction's data and accounts say what happened, for the transaction succeeded; what they lack (a job's id) is in
the account's state, and amounts paid are in the token balances. Where even the instruction is unknown, the state of
the accounts it was given tells what has happened to them. Times are the block's, by the clock that the programs read.
Pure functions: the caller fetches the accounts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.chain.decode import DecodeError
from app.chain.model import ChainEvent, EventKey, Instruction, Quarantined, Reading, Transaction
from app.chain.programs import Programs, instruction_names, refusal
from app.chain.rebuild import EVENTS, NEED_STATE, Call, Evidence, Lost

MAX_WANTED = 100
"""Accounts that one getMultipleAccounts gives."""
_ASSIGNED, _RUNNING, _COMPLETED, _CANCELLED = 1, 2, 3, 5

_Found = tuple[str, dict[str, Any]]
"""An event's name and data."""


def accounts_wanted(reading: Reading) -> list[str]:
    """The addresses whose state ``recover`` can use, at most MAX_WANTED, without repetition."""
    wanted: dict[str, None] = {}
    for _, _, instruction in reading.unread:
        name = instruction_names().get(instruction.data[:8])
        if name is None:
            wanted.update(dict.fromkeys(instruction.accounts))
        elif name in NEED_STATE:
            wanted.update(dict.fromkeys(instruction.accounts[:1]))
    return list(wanted)[:MAX_WANTED]


def recover(tx: Transaction, reading: Reading, accounts: Mapping[str, bytes | None], programs: Programs) -> Reading:
    """``reading`` with the events of its unread invocations; what cannot be rebuilt is quarantined
    (``logs_truncated``, or ``logs_missing``).

    ``accounts``: state by address, of accounts that one of our programs owns. Events that were read stay and are not
    rebuilt. What is rebuilt from an instruction has the key it would have been read with, so that reading the
    transaction again with full logs adds nothing.
    """
    work = _Recovery(reading, Evidence(tx, accounts, programs))
    for outer, inner, instruction in reading.unread:
        work.invocation(outer, inner, instruction)
    return Reading([*reading.events, *work.events], [*reading.quarantined, *work.quarantined], reading.truncated)


@dataclass(slots=True)
class _Recovery:
    reading: Reading
    evidence: Evidence
    events: list[ChainEvent] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)

    def invocation(self, outer: int, inner: int, instruction: Instruction) -> None:
        """Add what one unread invocation emitted."""
        here = (instruction.program, outer, inner)
        read = [one.name for one in self.reading.events if one.key[1:4] == here]
        used = len(read) + sum(one.key[1:4] == here for one in self.reading.quarantined)
        tx = self.evidence.tx
        try:
            found, missing = self.found(instruction, read)
        except Lost as lost:
            found, missing = [], str(lost)
        for ordinal, (name, data) in enumerate(found, used):
            key = EventKey(tx.signature, *here, ordinal)
            reason = refusal(name, data)
            if reason:
                self.quarantined.append(Quarantined(key, reason, name, instruction.data))
            else:
                self.events.append(ChainEvent(key, name, data, instruction.accounts, recovered=True))
        if missing:
            key = EventKey(tx.signature, *here, used + len(found))
            reason = "logs_truncated" if tx.logs else "logs_missing"
            self.quarantined.append(Quarantined(key, reason, missing, instruction.data))

    def found(self, instruction: Instruction, read: list[str]) -> tuple[list[_Found], str]:
        """What the invocation emitted besides ``read``, and what of it is missing. Raises Lost if all is."""
        decoder = self.evidence.programs.decoder_of(instruction.program)
        if decoder is None:
            raise Lost("not a program of ours")
        try:
            name, arguments = decoder.instruction(instruction.data)
        except DecodeError as error:
            return self.from_state(instruction, str(error))
        event, build = EVENTS.get(name, ("", None))
        if build is None or event in read:
            return [], ""
        try:
            data = build(Call(self.evidence, instruction, arguments, decoder.named(name, instruction.accounts)))
        except KeyError as error:
            raise Lost(f"{name} without its account {error}") from error
        return [(event, data)], ""

    def from_state(self, instruction: Instruction, why: str) -> tuple[list[_Found], str]:
        """What the state of the accounts of an unknown instruction says, as far as it is news."""
        found: list[_Found] = []
        missing = ""
        for address in dict.fromkeys(instruction.accounts):
            state = self.evidence.state(instruction.program, address)
            if state is not None and "job_id" in state:
                found += _job_events(self.evidence, state)
                payment, lost = _payment(self.evidence, instruction, state)
                found += payment
                missing = missing or lost
            elif state is not None and "node_id" in state:
                data = {"node_id": state["node_id"], "owner": state["owner"], "timestamp": state["registered_at"]}
                found.append(("NodeRegistered", data))
        known = {(one.name, _subject(one.data)) for one in (*self.reading.events, *self.events)}
        news = [one for one in found if (one[0], _subject(one[1])) not in known]
        if not news and not missing:
            raise Lost(f"unknown instruction ({why}), and none of its accounts tells more")
        return news, missing


def _job_events(evidence: Evidence, job: dict[str, Any]) -> list[_Found]:
    """What must have happened to a job in this state. The account holds no node's id: its assignment is told only
    where the node's account is at hand."""
    tx, job_id, status = evidence.tx, job["job_id"], job["status"]
    client, operator = job["client"], job["assigned_node"]
    created = {"job_id": job_id, "client": client, "job_type": job["job_type"], "price": job["price"]}
    found: list[_Found] = [("JobCreatedEvent", {**created, "timestamp": job["created_at"]})]
    if status in (_ASSIGNED, _RUNNING, _COMPLETED) and tx.block_time is not None:
        assigned = [
            {"job_id": job_id, "node_id": node["node_id"], "node_operator": operator, "timestamp": tx.block_time}
            for node in evidence.nodes()
            if node["owner"] == operator
        ]
        found += [("JobAssignedEvent", one) for one in assigned[:1]]
    if status == _COMPLETED:
        result = {"job_id": job_id, "operator": operator, "result_hash": job["result_hash"]}
        found.append(("JobCompletedEvent", {**result, "logs_url": job["logs_url"], "timestamp": job["completed_at"]}))
    if status == _CANCELLED and tx.block_time is not None:
        found.append(("JobCancelledEvent", {"job_id": job_id, "client": client, "timestamp": tx.block_time}))
    return found


def _payment(evidence: Evidence, instruction: Instruction, job: dict[str, Any]) -> tuple[list[_Found], str]:
    """The payment of a settled job, if tokens moved in this very transaction: to the operator, the treasury and the
    incentive pool, in the order of the accounts."""
    if not job["payment_settled"]:
        return [], ""
    changes = evidence.changes()
    gains = [changes[one] for one in dict.fromkeys(instruction.accounts) if changes.get(one, 0) > 0]
    if not gains:
        return [], ""
    if len(gains) != 3 or evidence.tx.block_time is None:
        return [], "tokens moved, and not to three accounts"
    operator, treasury, incentive = gains
    amounts = {"operator_amount": operator, "treasury_amount": treasury, "incentive_amount": incentive}
    data = {"job_id": job["job_id"], **amounts, "timestamp": evidence.tx.block_time}
    return [("PaymentDistributedEvent", data)], ""


def _subject(data: Mapping[str, Any]) -> str:
    return str(data.get("job_id") or data.get("node_id") or "")
