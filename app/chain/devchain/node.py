"""A node on a chain: what it has seen, and the answers it gives to JSON-RPC calls."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from app.chain.devchain.blocks import Commitment
from app.chain.devchain.chain import DevChain
from app.chain.devchain.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, RpcError, invalid_params, min_context_slot
from app.chain.devchain.faults import Faults, Kind
from app.chain.devchain.params import Config, Params
from app.chain.devchain.records import encode_json

log = logging.getLogger(__name__)

VERSION = "3.1.0"
"""The version of Agave whose answers these are."""

Raw: TypeAlias = msgspec.Raw
Method: TypeAlias = Callable[["Node", Params], Any]
METHODS: dict[str, Method] = {}


def method(name: str) -> Callable[[Method], Method]:
    """Make a function the method ``name``: it answers anything msgspec can encode, or raises RpcError."""

    def register(function: Method) -> Method:
        METHODS[name] = function
        return function

    return register


class Node:
    """A node that follows ``chain``, with ``faults``."""

    def __init__(self, chain: DevChain, faults: Faults) -> None:
        self.chain = chain
        self.faults = faults

    @property
    def lag(self) -> int:
        """How many slots it is behind."""
        fault = self.faults.any_of(Kind.LAG)
        return 0 if fault is None else int(50 if fault.value is None else fault.value)

    def slot(self, commitment: Commitment) -> int:
        return self.chain.blocks.at(commitment, self.lag)

    def view(self, config: Config, default: Commitment = Commitment.FINALIZED) -> int:
        """The slot that a call with this ``config`` is answered as of."""
        slot = self.slot(config.commitment(default))
        least = config.integer("minContextSlot")
        if least is not None and slot < least:
            raise min_context_slot(slot)
        return slot

    def settled_view(self, config: Config) -> int:
        """The same for methods that answer about blocks, which must be confirmed at least."""
        if config.commitment() is Commitment.PROCESSED:
            raise invalid_params("Method does not support commitment below `confirmed`")
        return self.view(config)

    def in_context(self, slot: int, value: Any) -> dict[str, Any]:
        return {"context": {"apiVersion": VERSION, "slot": slot}, "value": value}

    def call(self, name: str, params: Any) -> bytes:
        """The JSON of the result. Raises RpcError."""
        self.trouble(name)
        function = METHODS.get(name)
        if function is None:
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        try:
            result = function(self, Params(params))
            return bytes(result) if isinstance(result, Raw) else encode_json(result)
        except RpcError:
            raise
        # A panic inside solders is no Exception.
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            log.exception("%s failed", name)
            raise RpcError(INTERNAL_ERROR, "Internal error") from error

    def trouble(self, name: str) -> None:
        """Raise the RpcError that a fault has for a call of this method, if one has."""
        if not self.faults or name.startswith("devchain_"):
            return
        if self.faults.strike(Kind.RPC_429, method=name):
            raise RpcError(429, "Too many requests for a specific RPC call")
        if self.faults.strike(Kind.RPC_32005, method=name):
            raise RpcError(-32005, "Rate limit exceeded")
        if fault := self.faults.strike(Kind.RPC_ERROR, method=name):
            error = fault.value if isinstance(fault.value, dict) else {}
            data = {"data": error["data"]} if "data" in error else {}
            raise RpcError(error.get("code", INTERNAL_ERROR), error.get("message", "Internal error"), **data)
