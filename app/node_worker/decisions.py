"""Whether a node takes an offer: a pure function of the offer and of the node's standing."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.errors import InvalidInput
from app.core.money import parse_hyper
from app.node_worker.config import NodeConfig
from app.node_worker.wire import Offer


@dataclass(frozen=True, slots=True)
class Standing:
    """``free``: slots not in use. ``refused``: fitting offers declined so far for Behaviour.decline_first."""

    free: int
    draining: bool = False
    refused: int = 0


WILFUL = "declined by the node's configured behaviour"
"""The reason given where nothing but Behaviour speaks against an offer."""


def reason_to_decline(offer: Offer, config: NodeConfig, standing: Standing) -> str | None:
    """Why the node declines ``offer``, fit for the server's history; None = it accepts.

    Capabilities are not looked at: an offer does not say which the job asked for, and the server matched them
    against those the node declared. ``config.job_types`` is the operator's own, narrower word.
    """
    if standing.draining:
        return "draining"
    if config.job_types and offer.type not in config.job_types:
        return f"this node does not take jobs of type {offer.type}"
    if not 1 <= offer.gpus <= config.slots:
        return f"needs {offer.gpus} slots of {config.slots}"
    if offer.gpus > standing.free:
        return f"busy: needs {offer.gpus} slots and {standing.free} are free"
    try:
        price = parse_hyper(offer.price_per_gpu_hour_hyper)
    except InvalidInput:
        return f"unreadable price {offer.price_per_gpu_hour_hyper!r}"
    if price < config.min_price:
        return "price below this node's minimum"
    behaviour = config.behaviour
    if standing.refused < behaviour.decline_first or behaviour.declines(offer.offer_id):
        return WILFUL
    return None
