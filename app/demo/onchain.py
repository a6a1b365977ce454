"""What the demo does on chain, and how its chain process is spoken to: orders, answers, names of wallets, prices."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from app.chain.devchain.money import keypair
from app.core.requirements import JobType
from app.demo.trace import TraceJob, TraceNode

CLIENTS = 5
"""Wallets that the agent's jobs are created and paid with, by turns."""
_JOB_TYPES = tuple(JobType)
_PER_GPU_S = 27_778
"""Base units of HYPER: 0.1 HYPER a GPU-hour, which comes to odd amounts, so that shares must be rounded."""
_LEAST_PRICE = 1_000_007


class Way(StrEnum):
    """How a job's account on chain and the engine's job come together."""

    SPEC = "spec"
    """Its spec is stored, then it is created on chain, and that makes the engine's job."""
    HASH = "hash"
    """It is submitted, and then created on chain with the hash that was answered."""
    ID = "id"
    """The same, under the name that the engine gave it."""
    DEFAULTS = "defaults"
    """It is created on chain with the hash of a spec that nobody stores: it runs by the defaults of its type."""


class Pay(StrEnum):
    """What the client pays once its job is completed."""

    RIGHT = "right"
    FAKE_MINT = "fake_mint"
    SHORT = "short"
    NO_TRANSFER = "no_transfer"
    STRANGER = "stranger"
    """Another operator than the one who did the job claims the result, and is paid."""


WRONG = tuple(pay for pay in Pay if pay is not Pay.RIGHT)


class NodeOnChain(msgspec.Struct, frozen=True):
    """A node to register. ``stake``: base units of HYPER."""

    node_id: str
    location: str
    stake: int
    reputation: int
    completed: int


class ChainOrder(msgspec.Struct, frozen=True):
    """What the chain process is told on its standard input, as one line of JSON."""

    nodes: list[NodeOnChain]
    slot_ms: int
    finalize_depth: int
    clients: int = CLIENTS


class Opened(msgspec.Struct, frozen=True):
    """What the chain process prints, as one line of JSON, when all nodes are registered and it can be reached."""

    url: str
    ws_url: str
    node_registry: str
    job_receipt: str
    payment_splitter: str
    hyper_mint: str
    treasury: str
    incentive_pool: str

    def programs(self) -> dict[str, str]:
        """The programs, as the section ``solana`` of a configuration names them."""
        return {
            "node_registry_program_id": self.node_registry,
            "job_receipt_program_id": self.job_receipt,
            "payment_splitter_program_id": self.payment_splitter,
        }

    def accounts(self) -> dict[str, str]:
        """Whom payments go to and in what, as the section ``chain`` names it."""
        return {"hyper_mint": self.hyper_mint, "treasury": self.treasury, "incentive_pool": self.incentive_pool}


class CreateJob(msgspec.Struct, frozen=True):
    """A job to create. ``client``: its number; ``price``: base units; ``type``: the chain's number."""

    job_id: str
    client: int
    type: int
    price: int
    requirements_hash: str


class Created(msgspec.Struct, frozen=True):
    """``address``: the job's account. ``at``: Unix seconds."""

    address: str
    at: float


class EndJob(msgspec.Struct, frozen=True):
    """A job that is over. ``node_id``: the trace's node that completed it, empty: none did, it is to be cancelled.

    ``processed``: the splitter tells of the payment, too.
    """

    job_id: str
    client: int
    node_id: str = ""
    pay: Pay = Pay.RIGHT
    processed: bool = False


class ChainStatus(msgspec.Struct, frozen=True):
    """``events``: of all our programs so far. ``settled``: whether everything that happened is finalized."""

    slot: int
    transactions: int
    events: int
    settled: bool


Key = tuple[str, str, int, int, int]
"""Signature, program, outer instruction, inner instruction (-1: none), ordinal."""


class SeenEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event of one of our programs in a finalized block. ``amounts``: of a payment, as the event says."""

    key: Key
    name: str
    slot: int
    amounts: tuple[int, ...] = ()


class ChainLedger(msgspec.Struct, frozen=True):
    """The finalized chain. ``held``: base units of HYPER by wallet, of everyone who was ever paid."""

    slot: int
    transactions: int
    events: list[SeenEvent]
    held: dict[str, int]


def operator_name(node_id: str) -> str:
    """The wallet, by name, of the one operator of a node of the trace."""
    return f"operator of {node_id}"


def operator_wallet(node_id: str) -> str:
    """The same wallet's address."""
    return str(keypair(operator_name(node_id)).pubkey())


def chain_type(kind: str) -> int:
    """A job type's number on chain."""
    return _JOB_TYPES.index(JobType(kind))


def price_of(job: TraceJob) -> int:
    """What a job of the trace pays on chain, in base units of HYPER."""
    return max(_LEAST_PRICE, round(job.duration_s * job.gpus * _PER_GPU_S) + 7)


def node_on_chain(node: TraceNode) -> NodeOnChain:
    """A node of the trace as it is registered."""
    return NodeOnChain(node.id, node.region, int(node.stake * 10**9), node.reputation, node.completed)
