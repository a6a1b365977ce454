"""Everyone who has a wallet in the demo, acting on the chain: operators, clients, and who assigns jobs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

from solders.keypair import Keypair

from app.chain.devchain.chain import DevChain
from app.chain.devchain.network import Network, Payment, Style
from app.chain.devchain.records import Landed
from app.demo.ledger import read
from app.demo.onchain import (
    ChainLedger,
    ChainStatus,
    Created,
    CreateJob,
    EndJob,
    NodeOnChain,
    Opened,
    Pay,
    operator_name,
)

_FORTUNE = 10**16
"""Base units of HYPER that every client begins with: more than all jobs of the trace cost."""
_NODES_PER_SLOT = 300
_PAYMENTS = {
    Pay.RIGHT: Payment.REAL,
    Pay.FAKE_MINT: Payment.FAKE_MINT,
    Pay.SHORT: Payment.SHORT,
    Pay.NO_TRANSFER: Payment.NO_TRANSFER,
    Pay.STRANGER: Payment.REAL,
}


class Cast:
    """All wallets on one chain. Orders that were carried out before change nothing: they may be given again."""

    def __init__(self, chain: DevChain, clients: int) -> None:
        self.chain = chain
        self.network = Network(chain)
        self._clients = [self.network.wallet(f"client {number}", _FORTUNE) for number in range(clients)]
        self._stranger = self.network.wallet("stranger")
        self._operators: dict[str, Keypair] = {}
        self._created: dict[tuple[int, str], Created] = {}
        self._ended: set[tuple[int, str]] = set()
        self._paid: set[str] = {str(self._stranger.pubkey())}
        self._events = 0
        self._busy_slot = 0

    def opened(self, url: str, ws_url: str) -> Opened:
        """What the engine has to be told of the chain."""
        network = self.network
        programs = (network.programs.of(name) for name in ("node_registry", "job_receipt", "payment_splitter"))
        wallets = (network.money.mint, network.treasury, network.incentive)
        return Opened(url, ws_url, *map(str, programs), *map(str, wallets))

    def register(self, nodes: Sequence[NodeOnChain]) -> None:
        """Register nodes with the standing that they have in the trace, each by an operator of its own."""
        for number, node in enumerate(nodes, 1):
            landed = self.network.register_node(
                self._operator(node.node_id),
                node.node_id,
                location=node.location,
                # The program's own instruction begins every node without stake and with reputation 100.
                style=Style.RECORDS,
                stake_amount=node.stake,
                reputation_score=node.reputation,
                jobs_completed=node.completed,
            )
            self._note(landed)
            if number % _NODES_PER_SLOT == 0:
                self.chain.advance()

    def create(self, job: CreateJob) -> Created:
        """Create a job; the client signs."""
        name = (job.client, job.job_id)
        done = self._created.get(name)
        if done is None:
            client = self._clients[job.client]
            landed = self.network.create_job(
                client,
                job.job_id,
                job_type=job.type,
                price=job.price,
                requirements_hash=job.requirements_hash,
            )
            self._note(landed)
            address = self.network.job_address(client.pubkey(), job.job_id)
            done = self._created[name] = Created(str(address), time.time())
        return done

    def end(self, job: EndJob) -> None:
        """Assign, report and pay a completed job, or cancel one that nobody completed."""
        name = (job.client, job.job_id)
        if name in self._ended:
            return
        self._ended.add(name)
        client, network = self._clients[job.client], self.network
        if not job.node_id:
            self._note(network.cancel_job(client, job.job_id))
            return
        operator = self._operator(job.node_id)
        claims = self._stranger if job.pay is Pay.STRANGER else operator
        key = client.pubkey()
        self._note(network.assign_job(key, job.job_id, node_id=job.node_id, operator=operator.pubkey()))
        self._note(
            network.submit_result(
                key,
                job.job_id,
                operator=claims,
                assigned=operator.pubkey(),
                result_hash=hashlib.sha256(job.job_id.encode()).hexdigest(),
                logs_url=f"https://logs.invalid/{job.job_id}",
            )
        )
        payment = _PAYMENTS[job.pay]
        paid = network.settle_job(
            client, job.job_id, operator=claims.pubkey(), payment=payment, processed=job.processed
        )
        self._note(paid, 1 + job.processed)
        self._paid.add(str(claims.pubkey()))

    def fork(self, depth: int) -> int:
        """Let another fork win, on which everything of the last ``depth`` slots lands again; how many transactions."""
        fork = self.chain.fork(depth)
        if fork.dropped:
            raise ValueError(f"{len(fork.dropped)} transactions did not land again")
        self._busy_slot = self.chain.slot
        return len(fork.reland)

    def status(self) -> ChainStatus:
        """Where the chain is now."""
        settled = self._busy_slot <= self.chain.slot_at("finalized")
        return ChainStatus(self.chain.slot, len(self.chain.history), self._events, settled)

    def ledger(self) -> ChainLedger:
        """What the finalized chain says, read without anything that the engine reads it with."""
        network = self.network
        shared = (network.treasury, network.incentive, network.orchestrator)
        return read(self.chain, network.programs, network.money.mint, {*map(str, shared), *self._paid})

    def _operator(self, node_id: str) -> Keypair:
        found = self._operators.get(node_id)
        if found is None:
            found = self._operators[node_id] = self.network.wallet(operator_name(node_id))
        return found

    def _note(self, landed: Landed, events: int = 1) -> None:
        if landed.err is not None:
            raise ValueError(f"transaction {landed.signature} failed: {landed.err}")
        self._events += events
        self._busy_slot = landed.slot
