"""The native node API's JSON, as far as a worker needs it. Unknown fields are ignored."""

from typing import Any

import msgspec


class Description(msgspec.Struct, frozen=True):
    """A node as it registers: ``vram_gb`` per GPU, ``capacity`` in slots, the price a decimal string.

    ``fresh``: the worker has just started, so whatever the server thinks it runs is lost.
    """

    wallet: str
    gpu_model: str
    gpus: int
    vram_gb: int
    capabilities: list[str]
    region: str
    price_per_gpu_hour_hyper: str
    capacity: int
    fresh: bool = False


class Registration(msgspec.Struct, frozen=True):
    """The server's answer: it wants to hear from the node every ``heartbeat_interval_s`` seconds."""

    node_id: str
    state: str
    heartbeat_interval_s: float
    created: bool = False
    offline_after_s: float = 0.0


class Offer(msgspec.Struct, frozen=True):
    """One attempt of a job: ``gpus`` slots for at most ``timeout_s`` seconds from acceptance to report.

    ``lease_token``: goes with all that is said of it; 0 where the server knows no leases.
    """

    offer_id: str
    job_id: str
    type: str
    input: dict[str, Any]
    gpus: int
    price_per_gpu_hour_hyper: str
    timeout_s: float
    attempt: int = 1
    expires_at: str = ""
    lease_token: int = 0


class Offers(msgspec.Struct, frozen=True):
    offers: list[Offer]


class NodeStatus(msgspec.Struct, frozen=True):
    """``stop``: offers whose runs are to end."""

    state: str
    stop: list[str] = []


class Problem(msgspec.Struct, frozen=True):
    """What a worker reads of a problem document (RFC 9457)."""

    code: str = ""
    detail: str = ""
    retryable: bool = False
    retry_after: float | None = None
    next_action: str = ""
