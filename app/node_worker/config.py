"""What an operator says about a node, checked when it is made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from app.core.errors import InvalidInput
from app.core.money import parse_hyper, parse_price
from app.core.requirements import JobType, Region, parse_capabilities

POLL_WAIT_MAX_S = 45.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a worker misbehaves, for demonstrations and tests. The default is a good worker.

    Chance is drawn from ``seed`` and the offer's id, so that a replay with the same ids goes the same way.
    ``decline_rate``: share of the fitting offers declined. ``decline_first``: the first so many are declined.
    ``fail_rate``: share of the runs that fail, for any executor. ``vanish_after``: on accepting this many
    jobs the worker stops dead: no report, no drain, no heartbeat.
    """

    decline_rate: float = 0.0
    decline_first: int = 0
    fail_rate: float = 0.0
    vanish_after: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("decline_rate", "fail_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidInput(f"{name} must be within 0..1", field=name)

    def declines(self, offer_id: str) -> bool:
        return draw(self.seed, "decline", offer_id) < self.decline_rate

    def fails(self, offer_id: str) -> bool:
        return draw(self.seed, "fail", offer_id) < self.fail_rate


def draw(seed: int, purpose: str, key: str) -> float:
    """A number in 0..1 (1 excluded), uniform over keys and always the same for the same three arguments."""
    digest = hashlib.blake2b(f"{seed}\0{purpose}\0{key}".encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


@dataclass(frozen=True, slots=True)
class OpenAIConfig:
    """Where the executor ``openai`` sends chats: ``base_url`` up to and with ``/v1``.

    ``model``: for jobs that name none. ``api_key_env``: the environment variable that holds the key; no key
    is sent when it is unset, as local servers want it.
    """

    base_url: str = "http://127.0.0.1:8000/v1"
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """One node: whom it serves, what it has, what it takes. Raises InvalidInput where a value makes no sense.

    ``vram_gb``: per GPU. ``capacity``: slots, a job takes as many as the GPUs it asks for; None = ``gpus``.
    ``job_types``: decline every other type; empty = trust the server's match on capabilities.
    ``min_price_per_gpu_hour_hyper``: decline below it; None = below the node's own price. ``poll_wait_s``:
    how long an empty poll is held, shortened where the server wants to hear from the node more often.
    ``grace_s``: how long running jobs may go on after a stop. ``speed``: the executor ``simulate`` runs this
    many times faster than the job says.
    """

    server_url: str
    api_key: str = field(repr=False)
    wallet: str
    gpu_model: str
    price_per_gpu_hour_hyper: str
    gpus: int = 1
    vram_gb: int = 24
    capabilities: tuple[str, ...] = ("inference",)
    region: str = ""
    capacity: int | None = None
    executor: str = "echo"
    job_types: tuple[str, ...] = ()
    min_price_per_gpu_hour_hyper: str | None = None
    poll_wait_s: float = 20.0
    progress_interval_s: float = 5.0
    grace_s: float = 60.0
    speed: float = 1.0
    openai: OpenAIConfig = OpenAIConfig()
    behaviour: Behaviour = Behaviour()

    def __post_init__(self) -> None:
        parts = urlsplit(self.server_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput("server_url must be an http:// or https:// URL", field="server_url")
        parse_price(self.price_per_gpu_hour_hyper, "price_per_gpu_hour_hyper")
        parse_capabilities(self.capabilities)
        _one_of(self.region, ["", *Region], "region")
        for job_type in self.job_types:
            _one_of(job_type, list(JobType), "job_types")
        for name in ("wallet", "gpu_model", "api_key"):
            if not getattr(self, name):
                raise InvalidInput(f"{name} must not be empty", field=name)
        if self.gpus < 1 or self.slots < 1:
            raise InvalidInput("a node needs at least one GPU and one slot", field="capacity")
        if not 1.0 <= self.poll_wait_s <= POLL_WAIT_MAX_S:
            raise InvalidInput(f"poll_wait_s must be within 1..{POLL_WAIT_MAX_S:g}", field="poll_wait_s")
        if self.speed <= 0.0 or self.progress_interval_s <= 0.0:
            raise InvalidInput("speed and progress_interval_s must be more than zero", field="speed")
        _ = self.min_price

    @property
    def slots(self) -> int:
        return self.gpus if self.capacity is None else self.capacity

    @property
    def min_price(self) -> int:
        """Lowest price accepted, in base units of HYPER per GPU-hour."""
        least = self.min_price_per_gpu_hour_hyper
        return parse_hyper(self.price_per_gpu_hour_hyper if least is None else least, "min_price_per_gpu_hour_hyper")


def _one_of(value: str, known: list[str], name: str) -> None:
    if value not in known:
        raise InvalidInput(f"{name}: unknown {value!r}; known are {', '.join(filter(None, known))}", field=name)
