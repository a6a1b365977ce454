"""The chain's side of the settings, checked as a whole: every mistake is one line that says which setting it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from solders.keypair import Keypair

from app.chain.programs import Programs, check_program_id
from app.chain.rpc import Endpoint, check_url
from app.core.errors import InvalidInput
from app.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class ChainSetup:
    """What a process needs to speak with the chain. ``keypair``: None unless transactions are sent."""

    endpoints: tuple[Endpoint, ...]
    ws_url: str
    programs: Programs
    hyper_mint: str
    treasury: str
    incentive_pool: str
    keypair: Keypair | None


def chain_from(settings: Settings) -> ChainSetup:
    """Raises SettingsError where a setting is missing or of no use."""
    try:
        return _setup(settings)
    except InvalidInput as error:
        raise SettingsError(error.detail) from error


def _setup(settings: Settings) -> ChainSetup:
    solana, chain = settings.solana, settings.chain
    if not solana.rpc_url:
        raise SettingsError(
            "solana.rpc_url (SOLANA_RPC_URL) is not set: it names the node whose chain is read; `hae devchain` runs one"
        )
    check_url(solana.rpc_url, "solana.rpc_url", ("http", "https"))
    endpoints = [Endpoint(solana.rpc_url, chain.requests_per_s)]
    if chain.fallback_rpc_url:
        check_url(chain.fallback_rpc_url, "chain.fallback_rpc_url", ("http", "https"))
        endpoints.append(Endpoint(chain.fallback_rpc_url, chain.requests_per_s))
    ws_url = solana.ws_url or websocket_of(solana.rpc_url)
    check_url(ws_url, "solana.ws_url", ("ws", "wss"))
    named = {
        "solana.node_registry_program_id (NODE_REGISTRY_PROGRAM_ID)": solana.node_registry_program_id,
        "solana.job_receipt_program_id (JOB_RECEIPT_PROGRAM_ID)": solana.job_receipt_program_id,
    }
    for name, value in named.items():
        if not value:
            raise SettingsError(f"{name} is not set: it names the program whose events are read")
        check_program_id(value, name)
    splitter = solana.payment_splitter_program_id
    if splitter:
        check_program_id(splitter, "solana.payment_splitter_program_id (PAYMENT_SPLITTER_PROGRAM_ID)")
    ids = [*named.values(), *filter(None, [splitter])]
    if len(set(ids)) < len(ids):
        raise SettingsError("solana: two programs have the same id; each has one of its own")
    for name in ("hyper_mint", "treasury", "incentive_pool"):
        if getattr(chain, name):
            check_program_id(getattr(chain, name), f"chain.{name}")
    return ChainSetup(
        tuple(endpoints),
        ws_url,
        Programs(solana.node_registry_program_id, solana.job_receipt_program_id, splitter),
        chain.hyper_mint,
        chain.treasury,
        chain.incentive_pool,
        keypair_from(chain.keypair) if chain.submit else None,
    )


def websocket_of(rpc_url: str) -> str:
    """Where a node listens for subscriptions when nobody says: as for clients, the port after the RPC port, if any."""
    parts = urlsplit(rpc_url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    netloc = parts.netloc
    if parts.port is not None:
        netloc = f"{netloc[: -len(str(parts.port))]}{parts.port + 1}"
    return urlunsplit((scheme, netloc, parts.path, parts.query, ""))


def keypair_from(given: str) -> Keypair:
    """The keypair in a file as solana-keygen writes it (a JSON list of 64 numbers), or in that text itself.

    Raises SettingsError, which quotes nothing of the key.
    """
    name = "chain.keypair"
    if not given:
        raise SettingsError(f"{name} is not set, and chain.submit needs it to sign transactions")
    text = given
    if not given.lstrip().startswith("["):
        try:
            text = Path(given).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not text"
            raise SettingsError(f"{name}: the file cannot be read: {why}") from error
    try:
        numbers = json.loads(text)
        return Keypair.from_bytes(bytes(numbers))
    except (ValueError, TypeError, RecursionError) as error:
        raise SettingsError(f"{name}: not a keypair, which is a JSON list of 64 numbers from 0 to 255") from error
