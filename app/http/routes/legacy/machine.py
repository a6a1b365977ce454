"""What the operators' worker tells of its machine, read as well as it can be."""

import math
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.core.money import parse_price
from app.core.regions import region_of
from app.core.requirements import MAX_VRAM_GB, Capability, normalise_gpu_model
from app.services.nodes import Registration

_KNOWN = {capability.name.lower(): int(capability) for capability in Capability if capability.name}


class WorkerNode(msgspec.Struct, rename="camel"):
    """``vram`` in GB, ``ram_total`` in MB, ``location``: ``{country, city, lat, lon}`` or a country's name.

    Only the wallet must be right; fields the worker adds are ignored.
    """

    wallet_address: Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[\x21-\x7e]+$")]
    gpu_model: Any = None
    vram: Any = None
    driver_version: Any = None
    cuda_version: Any = None
    host_os: Any = msgspec.field(default=None, name="hostOS")
    cpu_model: Any = None
    ram_total: Any = None
    location: Any = None
    capabilities: Any = None


def registration_of(told: WorkerNode, default_price: str) -> Registration:
    """The node such a worker is: one slot, the network's default price (a decimal string of HYPER)."""
    gpu_model = told.gpu_model.strip()[:80] if isinstance(told.gpu_model, str) else ""
    gpu_model = gpu_model or "unknown"
    place = told.location.get("country") if isinstance(told.location, dict) else told.location
    names = told.capabilities if isinstance(told.capabilities, list) else []
    return Registration(
        wallet=told.wallet_address,
        gpu_model=normalise_gpu_model(gpu_model.replace("|", " ")),
        gpus=1,
        vram_gb=_gigabytes(told.vram),
        # Names this engine does not know are left out: the worker cannot be taught new ones.
        capabilities=sum({_KNOWN[name.lower()] for name in names if isinstance(name, str) and name.lower() in _KNOWN}),
        region=region_of(place) if isinstance(place, str) else "",
        price=parse_price(default_price, "default_price_hyper"),
        capacity=1,
        details={"gpu_model": gpu_model, "worker": _trimmed(told)},
        fresh=True,
    )


def _gigabytes(told: Any) -> int:
    """Whole GB in 0..MAX_VRAM_GB out of a number or its text; 0 for anything else."""
    try:
        number = float(told)
    except (TypeError, ValueError):
        return 0
    return int(min(max(number, 0.0), MAX_VRAM_GB)) if math.isfinite(number) else 0


def _trimmed(told: WorkerNode) -> dict[str, Any]:
    """What was told, without what is absurdly long: it is kept for people to read."""
    kept = msgspec.to_builtins(told)
    return {name: value for name, value in kept.items() if len(msgspec.json.encode(value)) <= 2_000}
