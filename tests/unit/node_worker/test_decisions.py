"""Which offers a node takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.node_worker.config import Behaviour, NodeConfig, draw
from app.node_worker.decisions import WILFUL, Standing, reason_to_decline
from app.node_worker.wire import Offer

CONFIG = NodeConfig(
    server_url="http://localhost:1",
    api_key="k",
    wallet="w",
    gpu_model="a100",
    gpus=4,
    price_per_gpu_hour_hyper="0.5",
)
OFFER = Offer(
    offer_id="offer_1",
    job_id="job_1",
    type="llm_inference",
    input={},
    gpus=2,
    price_per_gpu_hour_hyper="0.5",
    timeout_s=60,
)


def test_a_fitting_offer_is_accepted() -> None:
    assert reason_to_decline(OFFER, CONFIG, Standing(free=2)) is None


@pytest.mark.parametrize(
    ("change", "standing", "reason"),
    [
        ({}, Standing(free=1), "busy: needs 2 slots and 1 are free"),
        ({}, Standing(free=4, draining=True), "draining"),
        ({"gpus": 5}, Standing(free=4), "needs 5 slots of 4"),
        ({"gpus": 0}, Standing(free=4), "needs 0 slots of 4"),
        ({"price_per_gpu_hour_hyper": "0.499999999"}, Standing(free=4), "price below this node's minimum"),
        ({"price_per_gpu_hour_hyper": "cheap"}, Standing(free=4), "unreadable price 'cheap'"),
    ],
)
def test_an_offer_that_does_not_fit_is_declined(change: dict[str, Any], standing: Standing, reason: str) -> None:
    offer = msgspec.structs.replace(OFFER, **change)
    assert reason_to_decline(offer, CONFIG, standing) == reason


def test_declared_job_types_narrow_what_is_taken() -> None:
    config = replace(CONFIG, job_types=("render",))
    assert reason_to_decline(OFFER, config, Standing(free=4)) == "this node does not take jobs of type llm_inference"
    assert reason_to_decline(msgspec.structs.replace(OFFER, type="render"), config, Standing(free=4)) is None


def test_a_minimum_of_its_own_replaces_the_asking_price() -> None:
    config = replace(CONFIG, min_price_per_gpu_hour_hyper="0.2")
    offer = msgspec.structs.replace(OFFER, price_per_gpu_hour_hyper="0.2")
    assert reason_to_decline(offer, config, Standing(free=4)) is None


def test_the_first_offers_are_declined_when_told_to() -> None:
    config = replace(CONFIG, behaviour=Behaviour(decline_first=2))
    answers = [reason_to_decline(OFFER, config, Standing(free=4, refused=n)) for n in range(4)]
    assert answers == [WILFUL, WILFUL, None, None]


@given(seed=st.integers(0, 10), offer_id=st.text(max_size=20))
def test_chance_depends_on_seed_and_offer_alone(seed: int, offer_id: str) -> None:
    behaviour = Behaviour(decline_rate=0.5, seed=seed)
    assert behaviour.declines(offer_id) == Behaviour(decline_rate=0.5, seed=seed).declines(offer_id)
    assert Behaviour(decline_rate=1.0, seed=seed).declines(offer_id)
    assert not Behaviour(decline_rate=0.0, seed=seed).declines(offer_id)


def test_rates_come_out_as_shares() -> None:
    behaviour = Behaviour(decline_rate=0.2, fail_rate=0.05)
    ids = [f"offer_{n}" for n in range(10_000)]
    assert 1_800 < sum(map(behaviour.declines, ids)) < 2_200
    assert 400 < sum(map(behaviour.fails, ids)) < 600
    assert draw(1, "decline", "a") != draw(2, "decline", "a") != draw(2, "fail", "a")
