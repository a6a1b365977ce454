"""A local Solana chain over solders' LiteSVM, for the demo and the tests: ledger, JSON-RPC server, emitter program.

``DevChain`` is the chain in this process, ``serve`` puts it behind HTTP and WebSocket, ``Faults`` makes trouble.
docs/devchain.md is its manual.
"""

from app.chain.devchain.blocks import Commitment
from app.chain.devchain.chain import DevChain, Fork, Rejected, TooLarge
from app.chain.devchain.config import JOB_RECEIPT, NODE_REGISTRY, PAYMENT_SPLITTER, ChainConfig
from app.chain.devchain.faults import Fault, Faults
from app.chain.devchain.faults import Kind as FaultKind
from app.chain.devchain.message import MalformedTransaction
from app.chain.devchain.records import Landed
from app.chain.devchain.server import Served, serve

__all__ = [
    "JOB_RECEIPT",
    "NODE_REGISTRY",
    "PAYMENT_SPLITTER",
    "ChainConfig",
    "Commitment",
    "DevChain",
    "Fault",
    "FaultKind",
    "Faults",
    "Fork",
    "Landed",
    "MalformedTransaction",
    "Rejected",
    "Served",
    "TooLarge",
    "serve",
]
