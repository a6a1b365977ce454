"""app.bench.decode, without its peer, which comes over the network."""

from __future__ import annotations

import json
from collections import Counter
from importlib.resources import files

import pytest

from app.bench.decode import RECEIPT, REGISTRY, made, run
from app.chain.programs import Programs


def test_every_transaction_holds_an_event_of_its_own() -> None:
    idl = json.loads(files("app.chain").joinpath("idl", "job_receipt.json").read_bytes())
    decoder = Programs(REGISTRY, RECEIPT).decoder
    readings = [decoder.read(one) for one in made(idl, 100)]
    assert all(len(one.events) == 1 and not one.quarantined for one in readings)
    names = Counter(one.events[0].name for one in readings)
    assert names == {one["name"]: 20 for one in idl["events"]}
    assert len({one.events[0].data["job_id"] for one in readings}) == 100


def test_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for peer in (True, False):
        found = run(transactions=100, runs=2, peer=peer)
        assert list(found) == ["events_per_s", "anchor_js_events_per_s", "ratio"]
        assert found["events_per_s"] is not None and found["events_per_s"] > 0
        assert found["anchor_js_events_per_s"] is None and found["ratio"] is None
