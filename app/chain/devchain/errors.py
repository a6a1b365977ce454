"""JSON-RPC errors with the codes and the wording of a real node (Agave's rpc-client-api)."""

from __future__ import annotations

import re
from typing import Any

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
PREFLIGHT_FAILURE = -32002
SIGNATURE_VERIFICATION_FAILURE = -32003
BLOCK_NOT_AVAILABLE = -32004
NODE_UNHEALTHY = -32005
SLOT_SKIPPED = -32007
LONG_TERM_STORAGE_SLOT_SKIPPED = -32009
UNSUPPORTED_VERSION = -32015
MIN_CONTEXT_SLOT_NOT_REACHED = -32016

_ABSENT: Any = object()


class RpcError(Exception):
    """What a method answers instead of a result. ``data``: left out of the answer unless given."""

    def __init__(self, code: int, message: str, data: Any = _ABSENT) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def as_object(self) -> dict[str, Any]:
        """The ``error`` member of a JSON-RPC answer."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not _ABSENT:
            body["data"] = self.data
        return body


def invalid_params(message: str) -> RpcError:
    return RpcError(INVALID_PARAMS, message)


def block_not_available(slot: int) -> RpcError:
    return RpcError(BLOCK_NOT_AVAILABLE, f"Block not available for slot {slot}")


def slot_skipped(slot: int, *, archive: bool) -> RpcError:
    """The answer for a skipped slot; a node with an archive behind it (``archive``) words it differently."""
    if archive:
        return RpcError(LONG_TERM_STORAGE_SLOT_SKIPPED, f"Slot {slot} was skipped, or missing in long-term storage")
    return RpcError(SLOT_SKIPPED, f"Slot {slot} was skipped, or missing due to ledger jump to recent snapshot")


def behind(slots: int) -> RpcError:
    return RpcError(NODE_UNHEALTHY, f"Node is behind by {slots} slots", {"numSlotsBehind": slots})


def unsupported_version(version: int) -> RpcError:
    return RpcError(
        UNSUPPORTED_VERSION,
        f"Transaction version ({version}) is not supported by the requesting client. Please try the request again "
        f'with the following configuration parameter: "maxSupportedTransactionVersion": {version}',
    )


def min_context_slot(slot: int) -> RpcError:
    return RpcError(MIN_CONTEXT_SLOT_NOT_REACHED, "Minimum context slot has not been reached", {"contextSlot": slot})


_WORDING = {
    "AccountNotFound": "Attempt to debit an account but found no record of a prior credit.",
    "AccountInUse": "Account in use",
    "AlreadyProcessed": "This transaction has already been processed",
    "BlockhashNotFound": "Blockhash not found",
    "InsufficientFundsForFee": "Insufficient funds for fee",
    "InvalidAccountForFee": "This account may not be used to pay transaction fees",
    "InvalidProgramForExecution": "This program may not be used for executing instructions",
    "ProgramAccountNotFound": "Attempt to load a program that does not exist",
    "SignatureFailure": "Transaction did not pass signature verification",
}
_INSTRUCTION_WORDING = {
    "InsufficientFunds": "insufficient funds for instruction",
    "InvalidArgument": "invalid program argument",
    "MissingRequiredSignature": "missing required signature for instruction",
    "ReadonlyDataModified": "instruction modified data of a read-only account",
    "ExternalAccountDataModified": "instruction modified data of an account it does not own",
    "ProgramFailedToComplete": "Program failed to complete",
    "UnsupportedProgramId": "Unsupported program id",
}


def explain(err: Any) -> str:
    """A TransactionError (RPC shape) as the sentence a node puts into a preflight failure."""
    if isinstance(err, str):
        return _WORDING.get(err) or _spaced(err).capitalize()
    name, inside = next(iter(err.items()))
    if name == "InstructionError":
        index, cause = inside
        return f"Error processing Instruction {index}: {_cause(cause)}"
    if name == "InsufficientFundsForRent":
        return f"Transaction results in an account ({inside['account_index']}) with insufficient funds for rent"
    return _spaced(name).capitalize()


def _cause(cause: Any) -> str:
    if isinstance(cause, str):
        return _INSTRUCTION_WORDING.get(cause) or _spaced(cause)
    name, inside = next(iter(cause.items()))
    return f"custom program error: {inside:#x}" if name == "Custom" else _spaced(name)


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
