from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.core.ids import new_id

CROCKFORD = set("0123456789abcdefghjkmnpqrstvwxyz")


def test_an_id_is_its_prefix_and_a_ulid_that_fits_the_chain() -> None:
    made = new_id("job")
    prefix, body = made.split("_")
    assert prefix == "job" and len(body) == 26 and set(body) <= CROCKFORD
    assert len(made) <= 32 and len(new_id("offer")) <= 40


def test_the_first_bits_are_the_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    body = new_id("job").split("_")[1]
    after = time.time_ns() // 1_000_000
    value = 0
    for char in body:
        value = value * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(char)
    # Ids count on within a millisecond, so the clock may be a little behind them.
    assert before <= (value >> 80) <= after + 1


def test_ids_sort_in_the_order_they_were_made() -> None:
    made = [new_id("job") for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_threads_share_the_order_and_repeat_nothing() -> None:
    def many(_: int) -> list[str]:
        return [new_id("evt") for _ in range(2_000)]

    with ThreadPoolExecutor(8) as threads:
        runs = list(threads.map(many, range(8)))
    assert all(run == sorted(run) for run in runs)
    assert len({made for run in runs for made in run}) == 16_000


def test_a_clock_that_steps_back_does_not_turn_the_order_round(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_id("job")
    monkeypatch.setattr("app.core.ids.time.time_ns", lambda: 1_000_000)
    assert first < new_id("job") < new_id("job")
