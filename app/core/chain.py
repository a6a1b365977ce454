"""What the chain's side and the engine's share: commitments, payments, transactions of our own, a job's link."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Commitment(StrEnum):
    """How sure an event is."""

    CONFIRMED = "confirmed"
    """Voted for by a supermajority; may yet be forked out."""
    FINALIZED = "finalized"
    """For good."""
    ORPHANED = "orphaned"
    """Was confirmed and is gone: its block lost. What it did has been taken back."""


class PaymentState(StrEnum):
    """What the payment events of a job come to."""

    NONE = "none"
    OBSERVED = "observed"
    """A payment is on chain, not final yet, or cannot be verified."""
    VALID = "valid"
    """Final, of the right mint, in the right amounts, to the right operator."""
    INVALID = "invalid"
    """Final, and wrong."""


class OnChain(StrEnum):
    """Where a job stands on chain, in the order in which it gets there."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    ORPHANED = "orphaned"
    """Its creation was taken back: it is not there, or not any more."""


class LinkedBy(StrEnum):
    """How an account on chain found its job, or its job was made."""

    ID = "id"
    HASH = "hash"
    SPEC = "spec"
    DEFAULTS = "defaults"


class Verdict(StrEnum):
    """What a payment event is worth, held against what its transaction moved."""

    VALID = "valid"
    UNVERIFIED = "unverified"
    """The mint, the price or the operator is not known."""
    NO_TRANSFER = "no_transfer"
    FAKE_MINT = "fake_mint"
    """Tokens moved, but not HYPER."""
    WRONG_AMOUNTS = "wrong_amounts"
    """The token accounts gained something else than the event says."""
    WRONG_OPERATOR = "wrong_operator"
    WRONG_TREASURY = "wrong_treasury"
    WRONG_INCENTIVE_POOL = "wrong_incentive_pool"
    WRONG_SPLIT = "wrong_split"
    """Not the network's shares of the job's price."""


CHAIN_ACCOUNT = "chain:"
"""Begins the account of what the chain made: nodes of an owner who has not registered here, jobs without a spec."""

OPERATOR_MISMATCH = "operator_mismatch"
"""Flag of an event that names another operator than the engine chose."""


class OutgoingKind(StrEnum):
    """The transactions that the engine sends where ``chain.submit`` is on."""

    ASSIGN_JOB = "assign_job"
    SETTLE_JOB = "settle_job"


class OutgoingState(StrEnum):
    """Where such a transaction stands."""

    READY = "ready"
    """To be built."""
    SENT = "sent"
    """Signed and kept; sent, again and again, until it has landed or can land no more."""
    DONE = "done"
    """Finalized."""
    FAILED = "failed"
    """Landed with an error of the program, or was given up; ``error`` says which."""


@dataclass(slots=True)
class ChainView:
    """What the job graph needs to know of a job's account on chain.

    ``reason``: why a payment is invalid. ``mismatch``: the operator on chain is not the one that did the job.
    ``signature``: of the latest payment. ``price``: base units of HYPER that the whole job pays.
    """

    address: str
    payment: PaymentState
    reason: str | None
    mismatch: str | None
    signature: str | None = None
    price: int | None = None
