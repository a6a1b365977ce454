"""What nodes send to the native node API, and what it answers."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.core.money import format_hyper
from app.store.offers import OpenOffer
from tools.answers import stamp
from tools.schemas import CapabilityName, GpuModel, Input, RegionName

Text = Annotated[str, Meta(max_length=2_000)]
Logs = Annotated[list[Any], Meta(max_length=1_000, description="Lines or records, oldest first")]
Metrics = Annotated[dict[str, Any], Meta(description="What the node measured, by name")]
LeaseToken = Annotated[
    int,
    Meta(ge=0, le=2**63 - 1, description="lease_token of the offer: another one than its own is refused; 0 = not told"),
]
OfferId = Annotated[str, Meta(min_length=1, max_length=60)]


class Register(Input, kw_only=True):
    """A node and its GPUs. Registering again with the same wallet updates the node."""

    wallet: Annotated[
        str,
        Meta(min_length=1, max_length=80, pattern=r"^[\x21-\x7e]+$", description="The node's identity, unique"),
    ]
    gpu_model: Annotated[GpuModel, Meta(description="Such as RTX 4090; spelling is normalised")]
    gpus: Annotated[int, Meta(ge=1, le=64, description="GPUs on the node, all of one model")] = 1
    vram_gb: Annotated[int, Meta(ge=0, le=1024, description="GB of memory per GPU")] = 0
    capabilities: Annotated[
        list[CapabilityName], Meta(max_length=8, description="What it can run; inference unless said")
    ] = msgspec.field(default_factory=lambda: ["inference"])
    region: Annotated[RegionName, Meta(description="Its continent; empty = not told")] = ""
    price_per_gpu_hour_hyper: Annotated[
        str,
        Meta(max_length=40, description='HYPER as a decimal string, such as "0.25"; empty = the network\'s default'),
    ] = ""
    capacity: Annotated[int, Meta(ge=0, le=64, description="GPUs' worth of jobs at once; 0 = as many as gpus")] = 0
    name: Annotated[str, Meta(max_length=80, description="For people to read")] = ""
    fresh: Annotated[
        bool,
        Meta(description="The worker has just started and runs nothing: jobs it still holds go on elsewhere at once"),
    ] = False


class Heartbeat(Input, kw_only=True):
    """``gpu_utilization``: load of the node's GPUs in percent; null = not measured."""

    gpu_utilization: Annotated[int, Meta(ge=0, le=100)] | None = None
    running: Annotated[
        list[OfferId], Meta(max_length=64, description="Offers that the node works on: those it has lost are told of")
    ] = []


class Decline(Input, kw_only=True):
    reason: Annotated[Text, Meta(description="Why, for the people who run the network")] = ""


class Progress(Input, kw_only=True):
    """The first progress makes the job ``running``."""

    percent: Annotated[float, Meta(ge=0, le=100)] = 0.0
    message: Text = ""
    lease_token: LeaseToken = 0


class NodeResult(Input, kw_only=True):
    """``result``: any JSON."""

    result: Any = None
    logs: Logs = []
    metrics: Metrics = {}
    lease_token: LeaseToken = 0


class NodeFailure(Input, kw_only=True):
    error: Annotated[str, Meta(min_length=1, max_length=10_000, description="Why the run failed")]
    logs: Logs = []
    metrics: Metrics = {}
    lease_token: LeaseToken = 0


class Registered(msgspec.Struct, kw_only=True):
    """Send a heartbeat at least every ``heartbeat_interval_s`` seconds; after ``offline_after_s`` of silence the node
    is offline and its jobs go elsewhere, as does a run after ``lease_s`` without a heartbeat of its node or progress of
    its own. ``created`` is false when the wallet was known."""

    node_id: str
    state: str
    created: bool
    heartbeat_interval_s: float
    offline_after_s: float
    lease_s: float


class NodeAnswer(msgspec.Struct, kw_only=True):
    """``state``: registered, online, offline, draining, suspended or deregistered."""

    node_id: str
    state: str


class HeartbeatAnswer(NodeAnswer, kw_only=True):
    """``penalty``: points off the reputation in the ranking, for offers declined or missed and runs lost; it falls with
    time. ``suspended_until``: until when too many runs lost in a row shut the node out; empty = they do not. ``trial``:
    good jobs that it then has to do, one at a time. ``stop``: offers whose runs are to end now: progress on them tells
    whether the job is to be cancelled or was given to another."""

    penalty: int
    trial: int
    suspended_until: str
    stop: list[str]


class OfferAnswer(msgspec.Struct, kw_only=True):
    """One attempt of a job: ``gpus`` slots for at most ``timeout_s`` seconds from acceptance to report.

    ``input``: ``model``, ``prompt`` and ``input`` as the agent sent them, where it did. ``expires_at``: the answer must
    come before. ``lease_token``: to be given with whatever the node says of this offer. ``lease_s``: once accepted, so
    long the run stays the node's after each heartbeat and each progress.
    """

    offer_id: str
    job_id: str
    attempt: int
    type: str
    input: dict[str, Any]
    gpus: int
    price_per_gpu_hour_hyper: str
    timeout_s: int
    created_at: str
    expires_at: str
    lease_token: int
    lease_s: float


class OffersAnswer(msgspec.Struct, kw_only=True):
    """Open offers, oldest first; empty when none came in time."""

    offers: list[OfferAnswer]


class OfferStateAnswer(msgspec.Struct, kw_only=True):
    """``state``: accepted, declined or reported."""

    offer_id: str
    state: str


class AcceptAnswer(OfferStateAnswer, kw_only=True):
    """``lease_token`` and ``lease_s`` as in the offer."""

    lease_token: int
    lease_s: float


class ProgressAnswer(msgspec.Struct, kw_only=True):
    """``continue`` is always true: a job that was taken away answers 409 instead."""

    offer_id: str
    go_on: bool = msgspec.field(name="continue", default=True)


def offer_answer(offer: OpenOffer, lease_s: float) -> OfferAnswer:
    """An offer as its node sees it. ``lease_s``: how long a lease lasts."""
    return OfferAnswer(
        offer_id=offer.id,
        job_id=offer.job_id,
        attempt=offer.attempt,
        type=offer.job_type,
        input=offer.payload,
        gpus=offer.gpus,
        price_per_gpu_hour_hyper=format_hyper(offer.price),
        timeout_s=offer.timeout_s,
        created_at=stamp(offer.created_at),
        expires_at=stamp(offer.expires_at),
        lease_token=offer.token,
        lease_s=lease_s,
    )
