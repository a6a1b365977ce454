from __future__ import annotations

from app.webhooks.pace import Pace


def test_turns_are_an_interval_apart() -> None:
    pace = Pace(1.0)
    assert pace.wait_s(100.0) == 0
    assert [pace.reserve(100.0), pace.reserve(100.0), pace.reserve(100.5)] == [0.0, 1.0, 1.5]
    assert pace.wait_s(100.5) == 2.5
    assert pace.reserve(200.0) == 0


def test_without_an_interval_nobody_waits() -> None:
    pace = Pace(0.0)
    assert [pace.reserve(5.0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_a_hold_only_grows() -> None:
    pace = Pace(0.0)
    pace.hold(10.0, 5.0)
    pace.hold(11.0, 1.0)
    assert pace.held_s(12.0) == 3.0
    assert pace.wait_s(12.0) == 3.0
    assert pace.held_s(15.0) == 0
