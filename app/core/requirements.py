"""What a job asks of a node, and the vocabulary both sides share: job types, capabilities, regions, GPU names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag, StrEnum

from app.core.errors import InvalidInput


class JobType(StrEnum):
    """The on-chain job types, in the order of their numbers (0..5)."""

    LLM_INFERENCE = "llm_inference"
    LLM_FINE_TUNING = "llm_fine_tuning"
    RAG_INDEXING = "rag_indexing"
    VISION_PIPELINE = "vision_pipeline"
    RENDER = "render"
    GENERIC_COMPUTE = "generic_compute"


class Region(StrEnum):
    """Continents, as the trace and the nodes name them."""

    AF = "AF"
    AS = "AS"
    EU = "EU"
    NA = "NA"
    OC = "OC"
    SA = "SA"


class Capability(IntFlag):
    """What a node can do. The first six are those the operators' worker reports."""

    INFERENCE = 1
    TRAINING = 2
    FINE_TUNING = 4
    RENDER = 8
    VISION = 16
    CPU_COMPUTE = 32
    RAG_INDEXING = 64
    GENERIC_COMPUTE = 128


TYPE_CAPABILITIES: dict[JobType, Capability] = {
    JobType.LLM_INFERENCE: Capability.INFERENCE,
    JobType.LLM_FINE_TUNING: Capability.FINE_TUNING,
    JobType.RAG_INDEXING: Capability.INFERENCE,
    JobType.VISION_PIPELINE: Capability.VISION,
    JobType.RENDER: Capability.RENDER,
    JobType.GENERIC_COMPUTE: Capability(0),
}
"""What a job of a type needs when it names no capabilities itself."""

MAX_GPUS = 64
MAX_VRAM_GB = 1024
MAX_REPUTATION = 1000


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a job asks of a node; the defaults ask for nothing but one GPU.

    ``gpu_models``: normalised names, any of them will do, empty = any. ``gpus``: slots of one node. ``min_vram_gb``:
    GB per GPU. ``capabilities``: a Capability mask, all are needed. ``region``: a Region or empty. ``min_reputation``:
    0..1000. ``max_price``: ceiling on the node's price in base units of HYPER per GPU-hour, None = no ceiling.
    """

    gpu_models: tuple[str, ...] = ()
    gpus: int = 1
    min_vram_gb: int = 0
    capabilities: int = 0
    region: str = ""
    min_reputation: int = 0
    max_price: int | None = None


_VENDOR = re.compile(r"\b(nvidia|geforce|tesla|quadro|amd|radeon|corporation)\b")
_GAPS = re.compile(r"[\s_\-/]+")


def normalise_gpu_model(name: str) -> str:
    """One spelling for one GPU: ``"NVIDIA GeForce RTX 4090"`` and ``"rtx-4090"`` both become ``"rtx 4090"``."""
    short = _GAPS.sub(" ", _VENDOR.sub(" ", _GAPS.sub(" ", name.lower()))).strip()
    return short or name.strip().lower()


def parse_capabilities(names: Iterable[str], field: str = "capabilities") -> int:
    """The mask of the named capabilities; raises InvalidInput on a name that is not a Capability."""
    mask = 0
    for name in names:
        try:
            mask |= Capability[name.upper()]
        except KeyError:
            known = ", ".join(c.name.lower() for c in Capability if c.name)
            raise InvalidInput(f"{field}: unknown capability {name!r}; known are {known}", field=field) from None
    return mask


def capability_names(mask: int) -> list[str]:
    """Names in the mask, lowest bit first."""
    return [c.name.lower() for c in Capability if c.name and mask & c]
