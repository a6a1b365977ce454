"""The Solana side: IDLs, event decoding, JSON-RPC, the program listener, reconciliation and the local chain.

The websocket is a hint and a durable scan of signatures is the truth; no event from an unproven source is stored.
"""
