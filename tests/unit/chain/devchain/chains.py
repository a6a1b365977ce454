"""Chains that advance by hand, and transactions for them."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from app.chain.devchain import JOB_RECEIPT, ChainConfig, DevChain, Faults
from app.chain.devchain.emitter import record
from app.chain.devchain.money import keypair
from app.chain.devchain.node import Node
from app.chain.devchain.records import Landed

ALICE = keypair("alice")
BOB = keypair("bob")
RECEIPT = Pubkey.from_string(JOB_RECEIPT)
SOL = 10**9


def manual(**settings: Any) -> DevChain:
    """A chain on which Alice has 100 SOL, finally; blocks are final after four slots."""
    chain = DevChain(ChainConfig(**{"slot_ms": 0, "finalize_depth": 4, **settings}))
    chain.airdrop(ALICE.pubkey(), 100 * SOL)
    chain.advance(chain.config.finalize_depth + 1)
    return chain


def paying(
    chain: DevChain, lamports: int = SOL, to: Pubkey | None = None, blockhash: Hash | None = None
) -> VersionedTransaction:
    """Alice pays Bob."""
    step = transfer(TransferParams(from_pubkey=ALICE.pubkey(), to_pubkey=to or BOB.pubkey(), lamports=lamports))
    latest = blockhash or chain.latest_blockhash()[0]
    return VersionedTransaction(Message.new_with_blockhash([step], ALICE.pubkey(), latest), [ALICE])


def emitting(
    chain: DevChain, data: bytes, accounts: list[AccountMeta] | None = None, signer: Keypair = ALICE
) -> VersionedTransaction:
    """Instruction data for the emitter, under the job receipt's id."""
    return chain.sign([Instruction(RECEIPT, data, accounts or [])], [signer])


def emit(chain: DevChain, event: bytes) -> Landed:
    return chain.send(emitting(chain, record(event)))


def lamports(chain: DevChain, key: Pubkey, commitment: str = "processed") -> int:
    account = chain.account(key, commitment)
    return account.lamports if account else 0


def asking(chain: DevChain) -> Node:
    return Node(chain, Faults())


def ask(node: Node, method: str, *params: Any) -> Any:
    """The result of a call, as a client would read it."""
    return msgspec.json.decode(node.call(method, list(params)))


def wire(transaction: VersionedTransaction) -> str:
    return b64encode(bytes(transaction)).decode()
