"""Many events at once: a backlog for benchmarks and load tests."""

from __future__ import annotations

import random
from collections.abc import Iterator

from solders.instruction import AccountMeta, Instruction
from solders.message import Message
from solders.transaction import VersionedTransaction

from app.chain.devchain.borsh import program
from app.chain.devchain.emitter import record
from app.chain.devchain.network import SHARES, Network

JOB_EVENTS = ("JobCreatedEvent", "JobAssignedEvent", "JobCompletedEvent", "PaymentDistributedEvent")


def job_events(network: Network, count: int, *, seed: int = 0) -> Iterator[VersionedTransaction]:
    """``count`` transactions of one event each: lives of jobs, four events a life, one after another.

    Events alone, from instructions with the job's address: no accounts are written and no tokens move. For
    ``DevChain.load`` within 150 blocks.
    """
    chance = random.Random(seed)
    layouts = program("job_receipt").events
    key, payer = network.programs.job_receipt, network.wallet("backlog")
    client = payer.pubkey()
    operators = [network.wallet(f"backlog operator {number}").pubkey() for number in range(16)]
    blockhash, _ = network.chain.latest_blockhash()
    time = network.chain.blocks.open.time
    job = client
    for number in range(count):
        life, stage = divmod(number, len(JOB_EVENTS))
        price = 1_000_000_000 + life % 1000 * 1_000_000
        operator = operators[life % len(operators)]
        values = {
            **{"job_id": f"backlog-{seed}-{life}", "client": client, "operator": operator, "node_operator": operator},
            **{"node_id": f"node-{life % len(operators)}", "job_type": life % 6, "price": price, "timestamp": time},
            **{"result_hash": f"{chance.getrandbits(256):064x}", "logs_url": f"https://logs.example/{life}"},
            **{f"{who}_amount": price * percent // 100 for who, percent in SHARES.items()},
        }
        data = record(layouts[JOB_EVENTS[stage]].encode(values))
        if stage == 0:
            job = network.job_address(client, f"backlog-{seed}-{life}")
        step = Instruction(key, data, [AccountMeta(job, False, False), AccountMeta(client, True, False)])
        message = Message.new_with_blockhash([step], client, blockhash)
        yield VersionedTransaction(message, [payer])
