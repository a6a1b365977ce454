"""The network's three programs: their ids (configuration), their IDLs (bundled), their addresses and their limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from solders.pubkey import Pubkey

from app.chain import schema
from app.chain.decode import Decoder, ProgramDecoder
from app.chain.shapes import Primitive, Struct
from app.core.errors import InvalidInput

PROGRAMS = ("node_registry", "job_receipt", "payment_splitter")
MAX_SEED = 32
"""Bytes of one seed of a derived address: no account can exist for a longer id."""

EVENT_NAMES: Mapping[str, str] = {
    "NodeRegistered": "NodeRegistered",
    "NodeStatusUpdated": "NodeStatusUpdated",
    "NodeDeregistered": "NodeDeregistered",
    "JobCreatedEvent": "JobCreated",
    "JobAssignedEvent": "JobAssigned",
    "JobCompletedEvent": "JobCompleted",
    "JobCancelledEvent": "JobCancelled",
    "PaymentDistributedEvent": "PaymentDistributed",
    "PaymentProcessedEvent": "PaymentProcessed",
    "SplitterInitializedEvent": "SplitterInitialized",
    "ConfigUpdatedEvent": "ConfigUpdated",
    "TreasuryWithdrawalEvent": "TreasuryWithdrawal",
}
"""What the network's documents, and so the engine, call the programs' events."""

TEXT_LIMITS: Mapping[str, int] = {
    "job_id": 32,
    "node_id": 64,
    "gpu_specs_hash": 64,
    "location": 64,
    "requirements_hash": 64,
    "result_hash": 64,
    "logs_url": 128,
}
"""Bytes that the programs allow."""


class Programs:
    """The programs at these ids; an empty ``payment_splitter`` means that one is not indexed.

    ``decoder`` reads transactions and quarantines texts that the programs would refuse (``over_long``) or PostgreSQL
    (``nul_in_text``). Raises InvalidInput for an id that is none, and for one that is given twice.
    """

    def __init__(self, node_registry: str, job_receipt: str, payment_splitter: str = "") -> None:
        given = dict(zip(PROGRAMS, (node_registry, job_receipt, payment_splitter), strict=True))
        if not payment_splitter:
            del given["payment_splitter"]
        self._keys = {name: check_program_id(text, name) for name, text in given.items()}
        if len(set(given.values())) < len(given):
            raise InvalidInput(f"two programs have the same id: {', '.join(given.values())}", field="program_ids")
        self.node_registry = node_registry
        self.job_receipt = job_receipt
        self.payment_splitter = payment_splitter
        self._decoders = {text: ProgramDecoder(text, _idl(name)) for name, text in given.items()}
        self.decoder = Decoder(self._decoders.values(), refusal)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the programs that are indexed."""
        return tuple(self._decoders)

    def decoder_of(self, program_id: str) -> ProgramDecoder | None:
        """The decoder of one of the programs, None for any other."""
        return self._decoders.get(program_id)

    def node_address(self, owner: str, node_id: str) -> str | None:
        """The account of a node. None for a node_id too long for an address to exist; ValueError if ``owner`` is not a
        public key."""
        return self._derived("node_registry", b"node", owner, node_id)

    def job_address(self, client: str, job_id: str) -> str | None:
        """The account of a job, likewise."""
        return self._derived("job_receipt", b"job", client, job_id)

    def _derived(self, program: str, kind: bytes, key: str, name: str) -> str | None:
        seed = name.encode()
        # Past the limit solders panics instead of raising.
        if len(seed) > MAX_SEED:
            return None
        found, _ = Pubkey.find_program_address([kind, bytes(Pubkey.from_string(key)), seed], self._keys[program])
        return str(found)


def check_program_id(text: str, name: str) -> Pubkey:
    """The key that ``text`` is. Raises InvalidInput, with one line that names ``name``, for what is none."""
    try:
        return Pubkey.from_string(text)
    except ValueError as error:
        raise InvalidInput(
            f"{name}: {text!r:.80} is not a program id, which is base58 of 32 bytes",
            field=name,
            next_action="Set it to the address the program is deployed at.",
        ) from error


def refusal(name: str, data: Mapping[str, Any]) -> str:
    """Why the event ``name`` must not be stored although it decodes: ``nul_in_text``, ``over_long``, or ""."""
    for field, limit in _texts().get(name, ()):
        text = data[field]
        if "\0" in text:
            return "nul_in_text"
        if len(text) > limit or (not text.isascii() and len(text.encode()) > limit):
            return "over_long"
    return ""


@cache
def _texts() -> Mapping[str, Sequence[tuple[str, int]]]:
    """The fields of each event that are text, with their limits."""
    found: dict[str, list[tuple[str, int]]] = {}
    for program in PROGRAMS:
        idl = _idl(program)
        for event in idl.events:
            body = idl.types[event.name]
            assert isinstance(body, Struct) and body.names is not None
            fields = zip(body.names, body.types, strict=True)
            found[event.name] = [(field, TEXT_LIMITS[field]) for field, type_ in fields if type_ == Primitive("string")]
    return found


@cache
def instruction_names() -> Mapping[bytes, str]:
    """The programs' instructions by discriminator."""
    return {one.discriminator: one.name for program in PROGRAMS for one in _idl(program).instructions}


@cache
def _idl(name: str) -> schema.Idl:
    return schema.load(files("app.chain").joinpath("idl", f"{name}.json").read_bytes())
