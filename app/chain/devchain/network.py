"""The Hypernode network's own traffic on a local chain, as real signed transactions."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM

from app.chain.devchain import tokens
from app.chain.devchain.acting import Act, Actor, Programs, Style, address_of
from app.chain.devchain.chain import DevChain
from app.chain.devchain.emitter import JOB_SPACE, NODE_SPACE, record
from app.chain.devchain.money import Money, token_address, transfer
from app.chain.devchain.records import Landed

SHARES = {"operator": 80, "treasury": 10, "incentive": 5, "orchestrator": 5}
"""Percent of a job's price."""


class Payment(StrEnum):
    """What a payment does beside its event."""

    REAL = "real"
    FAKE_MINT = "fake_mint"
    """The same transfers of a worthless token."""
    SHORT = "short"
    """Real transfers of half of what the event says."""
    NO_TRANSFER = "no_transfer"
    """The event alone."""


class Network(Actor):
    """Who acts on the network, on one chain. Every action lands at once and answers what landed.

    All state is read from the chain, so that forks cannot make this wrong. ``style`` is that of actions that name none.
    """

    def __init__(self, chain: DevChain, programs: Programs | None = None, style: Style = Style.NATIVE) -> None:
        super().__init__(chain, programs, style)
        self._worthless: Money | None = None

    # Nodes

    def node_address(self, owner: Pubkey, node_id: str | bytes) -> Pubkey:
        return address_of(b"node", owner, node_id, self.programs.node_registry)[0]

    def register_node(
        self,
        owner: Keypair,
        node_id: str | bytes,
        *,
        gpu_specs_hash: str | bytes = "",
        location: str | bytes = "EU",
        style: Style | None = None,
        **state: Any,
    ) -> Landed:
        """``state``: further fields of the NodeAccount, such as stake_amount; only RECORDS and its kin take them."""
        key, now = owner.pubkey(), self.now
        node, bump = address_of(b"node", key, node_id, self.programs.node_registry)
        self.place(node, NODE_SPACE, self.programs.node_registry)
        fields = {
            **{"owner": key, "node_id": node_id, "gpu_specs_hash": gpu_specs_hash, "location": location},
            **{"registered_at": now, "last_heartbeat": now, "status": 0, "stake_amount": 0, "reputation_score": 100},
            **{"jobs_completed": 0, "total_earned": 0, "bump": bump},
            **state,
        }
        metas = [
            AccountMeta(node, False, True),
            AccountMeta(key, True, True),
            AccountMeta(SYSTEM, False, False),
        ]
        arguments = {"node_id": node_id, "gpu_specs_hash": gpu_specs_hash, "location": location}
        act = Act("node_registry", "register_node", arguments, metas, "NodeAccount", fields)
        return self.do(act, "NodeRegistered", {"node_id": node_id, "owner": key}, [owner], style)

    def update_node_status(
        self, owner: Keypair, node_id: str | bytes, status: int, *, style: Style | None = None
    ) -> Landed:
        """``status``: 0 online, 1 offline, 2 suspended."""
        act = self._on_node(owner, node_id, "update_node_status", {"status": status}, status=status)
        return self.do(act, "NodeStatusUpdated", {"node_id": node_id, "status": status}, [owner], style)

    def deregister_node(self, owner: Keypair, node_id: str | bytes, *, style: Style | None = None) -> Landed:
        """NATIVE closes the account; the others leave it."""
        act = self._on_node(owner, node_id, "deregister_node", {})
        return self.do(act, "NodeDeregistered", {"node_id": node_id, "owner": owner.pubkey()}, [owner], style)

    # Jobs

    def job_address(self, client: Pubkey, job_id: str | bytes) -> Pubkey:
        return address_of(b"job", client, job_id, self.programs.job_receipt)[0]

    def create_job(
        self,
        client: Keypair,
        job_id: str | bytes,
        *,
        job_type: int = 0,
        price: int,
        requirements_hash: str | bytes = "",
        style: Style | None = None,
    ) -> Landed:
        """``price``: base units of HYPER. ``job_type``: 0 llm_inference … 5 generic_compute."""
        key = client.pubkey()
        job, bump = address_of(b"job", key, job_id, self.programs.job_receipt)
        self.place(job, JOB_SPACE, self.programs.job_receipt)
        fields = {
            **{"job_id": job_id, "client": key, "assigned_node": Pubkey.default(), "job_type": job_type},
            **{"price": price, "requirements_hash": requirements_hash, "created_at": self.now, "completed_at": 0},
            **{"status": 0, "result_hash": "", "logs_url": "", "payment_settled": False, "bump": bump},
        }
        metas = [
            AccountMeta(job, False, True),
            AccountMeta(key, True, True),
            AccountMeta(SYSTEM, False, False),
        ]
        given = {"job_id": job_id, "job_type": job_type, "price": price}
        act = Act(
            "job_receipt",
            "create_job",
            {**given, "requirements_hash": requirements_hash},
            metas,
            "JobAccount",
            fields,
        )
        return self.do(act, "JobCreatedEvent", {**given, "client": key}, [client], style)

    def assign_job(
        self,
        client: Pubkey,
        job_id: str | bytes,
        *,
        node_id: str | bytes,
        operator: Pubkey,
        authority: Keypair | None = None,
        style: Style | None = None,
    ) -> Landed:
        """``authority``: whoever signs; the program asks for no one in particular."""
        signer = authority or self.wallet("authority")
        metas = [AccountMeta(signer.pubkey(), True, False), AccountMeta(operator, False, False)]
        act = self._on_job(client, job_id, "assign_job", {"node_id": node_id}, metas, status=1, assigned_node=operator)
        event = {"job_id": job_id, "node_id": node_id, "node_operator": operator}
        return self.do(act, "JobAssignedEvent", event, [signer], style)

    def submit_result(
        self,
        client: Pubkey,
        job_id: str | bytes,
        *,
        operator: Keypair,
        result_hash: str | bytes = "",
        logs_url: str | bytes = "",
        assigned: Pubkey | None = None,
        style: Style | None = None,
    ) -> Landed:
        """``assigned``: the node that the job was assigned to, where that is not ``operator``: the program does not
        care whether they are the same.
        """
        key = operator.pubkey()
        metas = [AccountMeta(key, True, True), AccountMeta(assigned or key, False, False)]
        result = {"result_hash": result_hash, "logs_url": logs_url}
        act = self._on_job(client, job_id, "submit_result", result, metas, status=3, completed_at=self.now, **result)
        return self.do(act, "JobCompletedEvent", {"job_id": job_id, "operator": key, **result}, [operator], style)

    def cancel_job(self, client: Keypair, job_id: str | bytes, *, style: Style | None = None) -> Landed:
        key = client.pubkey()
        act = self._on_job(key, job_id, "cancel_job", {}, [AccountMeta(key, True, False)], status=5)
        return self.do(act, "JobCancelledEvent", {"job_id": job_id, "client": key}, [client], style)

    def settle_job(
        self,
        client: Keypair,
        job_id: str | bytes,
        *,
        operator: Pubkey,
        payment: Payment = Payment.REAL,
        processed: bool = False,
        style: Style | None = None,
    ) -> Landed:
        """Pay for a job out of the client's HYPER: 80/10/5/5 percent, rounded down.

        The orchestrator's share is a transfer beside the program's instruction, which knows only three. ``processed``:
        with a PaymentProcessedEvent of the splitter, too. Payments that are not what they say are never NATIVE, but
        for those in a worthless token, which the program does not notice.
        """
        job = self.state(self.job_address(client.pubkey(), job_id), "job_receipt", "JobAccount")
        shares = {who: job["price"] * percent // 100 for who, percent in SHARES.items()}
        money = self._fake() if payment is Payment.FAKE_MINT else self.money
        if payment is Payment.FAKE_MINT and money.held(client.pubkey()) < job["price"]:
            money.give(client.pubkey(), job["price"])
        owners = {
            **{"operator": operator, "treasury": self.treasury},
            **{"incentive": self.incentive, "orchestrator": self.orchestrator},
        }
        source = money.account(client.pubkey())
        accounts = {who: money.account(owner) for who, owner in owners.items()}
        if payment in (Payment.SHORT, Payment.NO_TRANSFER):
            style = Style.RECORDS if style in (None, Style.NATIVE) else style
        style = style or self.style
        names = list(owners) if style is not Style.NATIVE else ["orchestrator"]
        divisor = 2 if payment is Payment.SHORT else 1
        steps = [transfer(source, accounts[who], client.pubkey(), shares[who] // divisor) for who in names]
        if payment is Payment.NO_TRANSFER:
            steps = []
        if processed:
            steps.append(self._processed(job["price"], shares))
        metas = [AccountMeta(source, False, True)]
        metas += [AccountMeta(accounts[who], False, True) for who in ("operator", "treasury", "incentive")]
        metas += [AccountMeta(client.pubkey(), True, False), AccountMeta(tokens.TOKEN, False, False)]
        act = self._on_job(client.pubkey(), job_id, "settle_job", {}, metas, payment_settled=True)
        event = {f"{who}_amount": shares[who] for who in ("operator", "treasury", "incentive")}
        return self.do(act, "PaymentDistributedEvent", {"job_id": job_id, **event}, [client], style, steps)

    def _on_node(
        self, owner: Keypair, node_id: str | bytes, instruction: str, arguments: dict[str, Any], **changes: Any
    ) -> Act:
        node = self.node_address(owner.pubkey(), node_id)
        state = {**self.state(node, "node_registry", "NodeAccount"), "last_heartbeat": self.now, **changes}
        metas = [AccountMeta(node, False, True), AccountMeta(owner.pubkey(), True, instruction == "deregister_node")]
        return Act("node_registry", instruction, arguments, metas, "NodeAccount", state)

    def _on_job(
        self,
        client: Pubkey,
        job_id: str | bytes,
        instruction: str,
        arguments: dict[str, Any],
        metas: list[AccountMeta],
        **changes: Any,
    ) -> Act:
        job = self.job_address(client, job_id)
        state = {**self.state(job, "job_receipt", "JobAccount"), **changes}
        return Act("job_receipt", instruction, arguments, [AccountMeta(job, False, True), *metas], "JobAccount", state)

    def _fake(self) -> Money:
        if self._worthless is None:
            self._worthless = Money(self.chain, "WORTHLESS")
        return self._worthless

    def _processed(self, total: int, shares: dict[str, int]) -> Instruction:
        amounts = {f"{who}_amount": amount for who, amount in shares.items()}
        data = self.event("payment_splitter", "PaymentProcessedEvent", {"total_amount": total, **amounts})
        return Instruction(self.programs.payment_splitter, record(data), [])


__all__ = ["SHARES", "Network", "Payment", "Programs", "Style", "token_address"]
