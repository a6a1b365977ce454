"""A node as the matchmaker sees it."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.states import NodeState


@dataclass(slots=True)
class NodeRecord:
    """One node's row: identity, standing, price and slots.

    ``gpu_model``: normalised. ``gpus``: on the node. ``vram_gb``: per GPU. ``capabilities``: Capability mask.
    ``reputation``: 0..1000. ``stake`` and ``price``: base units of HYPER, price per GPU-hour and > 0.
    ``response_ms``: EWMA of the time to answer an offer, 0 = none yet. ``capacity``: slots. ``active_jobs``: slots in
    use (a job takes as many slots as it asked GPUs), always 0..capacity. ``version``: rises with every change.
    ``penalty``: points off the reputation in the ranking, for declines and failures, 0..1000. ``trial``: good jobs that
    a node let back in has yet to do, one at a time; 0 = none.
    """

    id: str
    gpu_model: str
    gpus: int
    vram_gb: int
    capabilities: int
    region: str
    reputation: int
    stake: int
    price: int
    jobs_completed: int
    jobs_failed: int
    response_ms: int
    state: NodeState
    capacity: int
    active_jobs: int
    version: int
    penalty: int = 0
    trial: int = 0

    @property
    def free(self) -> int:
        """Slots that a job may take now: none while a node on trial has a job."""
        if self.trial and self.active_jobs:
            return 0
        return self.capacity - self.active_jobs
