"""The JSON-RPC methods by area; importing this package registers them all."""

from app.chain.devchain.methods import accounts, admin, blocks, cluster, sending, transactions

__all__ = ["accounts", "admin", "blocks", "cluster", "sending", "transactions"]
