"""JSON-RPC to Solana nodes: raw requests over httpx, answers parsed here and nowhere else.

solana-py's client is not used for answers: it returns an int for a 429 inside HTTP 200, panics on -32005 without data,
and loses a whole page to one error variant it does not know (measured on 0.41).
"""

from app.chain.rpc.client import RpcClient
from app.chain.rpc.endpoints import Endpoint, check_url
from app.chain.rpc.errors import RpcError, RpcUnavailable
from app.chain.rpc.records import AccountInfo, SignatureInfo, Status

__all__ = [
    "AccountInfo",
    "Endpoint",
    "RpcClient",
    "RpcError",
    "RpcUnavailable",
    "SignatureInfo",
    "Status",
    "check_url",
]
