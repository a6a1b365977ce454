"""When expressions are due: clocks that are turned, times that were missed, and what is no expression."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from app.core.errors import InvalidInput
from app.services.cron import Cron


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(expression: str, zone: str, after: str, count: int) -> list[str]:
    return [one.strftime("%d %H:%M") for one in Cron(expression, zone).upcoming(at(after), count)]


def test_in_spring_the_hour_that_is_left_out_is_made_up_for_at_its_end() -> None:
    """Berlin, 29 March 2026: 02:00 is 03:00, 01:00 UTC."""
    assert due("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00", 3) == ["28 01:30", "29 01:00", "30 00:30"]
    assert due("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00", 3) == ["29 00:30", "29 01:00", "29 01:30"]


def test_in_autumn_a_named_hour_comes_once_and_time_goes_on_for_the_others() -> None:
    """Berlin, 25 October 2026: 03:00 is 02:00 again, 01:00 UTC."""
    assert due("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == ["25 00:30", "26 01:30"]
    # Asked within the second of the two hours, too.
    assert due("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10", 1) == ["26 01:30"]
    assert due("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:10", 4) == [
        "25 00:30",
        "25 01:00",
        "25 01:30",
        "25 02:00",
    ]


def test_clocks_that_are_turned_by_half_an_hour() -> None:
    """Lord Howe Island, 5 April 2026: 02:00 is 01:30 again."""
    assert due("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00", 2) == ["04 14:45", "05 15:15"]


def test_names_and_zones() -> None:
    # 1 November 2026 ends daylight saving time in New York.
    assert due("0 9 * * MON-fri", "America/New_York", "2026-10-30T20:00", 2) == ["02 14:00", "03 14:00"]
    assert due("0 0 29 feb *", "UTC", "2026-01-01T00:00", 1) == ["29 00:00"]
    assert Cron("* * * * *", "UTC").after(at("2026-01-01T00:00")) == at("2026-01-01T00:01")
    assert Cron("* * * * *", "UTC").after(at("2026-01-01T00:00:59.999999")) == at("2026-01-01T00:01")


@pytest.mark.parametrize(
    ("zone", "before"),
    [("Europe/Berlin", "2026-03-28T22:00"), ("Europe/Berlin", "2026-10-24T22:00"),
     ("America/St_Johns", "2026-11-01T02:00"), ("Australia/Lord_Howe", "2026-04-04T13:00")],
)  # fmt: skip
@pytest.mark.parametrize("expression", ["*/7 * * * *", "15,45 */2 * * *", "30 1-3 * * *"])
def test_where_clocks_are_turned_times_rise_and_the_latest_is_the_last_of_them(
    expression: str, zone: str, before: str
) -> None:
    cron = Cron(expression, zone)
    times = cron.upcoming(at(before), 24)
    assert times == sorted(set(times)) and times[0] > at(before)
    for one, following in pairwise(times):
        assert cron.after(following - timedelta(microseconds=1)) == following
        assert cron.latest(times[0], following - timedelta(microseconds=1)) == one
        assert cron.latest(times[0], following) == following


@pytest.mark.parametrize(
    ("zone", "before"),
    [("Europe/Berlin", "2026-03-28T23:10"), ("Europe/Berlin", "2026-10-24T23:10"),
     ("Australia/Lord_Howe", "2026-04-04T13:10"), ("Australia/Lord_Howe", "2026-10-03T14:10")],
)  # fmt: skip
@pytest.mark.parametrize("expression", ["*/7 * * * *", "15,45 */2 * * *", "30 * * * *"])
def test_what_names_no_hour_is_due_at_every_minute_that_shows_it(expression: str, zone: str, before: str) -> None:
    shown, place = at(before), ZoneInfo(zone)
    minutes = [shown + timedelta(minutes=minute) for minute in range(1, 240)]
    expected = [one for one in minutes if croniter.match(expression, one.astimezone(place).replace(tzinfo=None))]
    assert Cron(expression, zone).upcoming(shown, len(expected)) == expected


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * *", "@hourly", "60 * * * *", "R * * * *", "H 0 * * *", "0 0 30 2 *", "0 0 31 4 *",
     "*/0 * * * *", "* * * * mittwoch", "* * * * 5#7", "9" * 30 + " * * * *", "0 0 * * *; ls"],
)  # fmt: skip
def test_what_is_no_expression_or_never_due(expression: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Cron(expression, "UTC")
    assert refused.value.field == "cron"


@pytest.mark.parametrize("zone", ["", "America", "Mars/Olympus", "../etc/passwd", "/etc/passwd", "UTC\0", "x" * 300])
def test_what_is_no_zone(zone: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Cron("* * * * *", zone)
    assert refused.value.field == "timezone"
