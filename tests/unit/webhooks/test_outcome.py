from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.outcome import MAX_RETRY_AFTER_S, Verdict, judge, retry_after_s

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "status", "verdict"),
    [
        ("custom", 200, Verdict.DELIVERED),
        ("custom", 204, Verdict.DELIVERED),
        ("custom", 299, Verdict.DELIVERED),
        ("custom", 300, Verdict.RETRY),
        ("custom", 301, Verdict.RETRY),
        ("custom", 304, Verdict.RETRY),
        ("custom", 307, Verdict.RETRY),
        ("custom", 400, Verdict.RETRY),
        ("custom", 401, Verdict.RETRY),
        ("custom", 404, Verdict.RETRY),
        ("custom", 408, Verdict.RETRY),
        ("custom", 410, Verdict.DISABLED),
        ("custom", 425, Verdict.RETRY),
        ("custom", 429, Verdict.RETRY),
        ("custom", 500, Verdict.RETRY),
        ("custom", 503, Verdict.RETRY),
        ("custom", 599, Verdict.RETRY),
        ("custom", 999, Verdict.RETRY),
        ("slack", 404, Verdict.RETRY),
        ("slack", 410, Verdict.DISABLED),
        ("discord", 404, Verdict.DISABLED),
        ("discord", 204, Verdict.DELIVERED),
    ],
)
def test_what_a_status_means(kind: str, status: int, verdict: Verdict) -> None:
    outcome = judge(kind, status, {}, b"", NOW)
    assert outcome.verdict is verdict
    assert outcome.status_code == status
    assert bool(outcome.reason) is (verdict is not Verdict.DELIVERED)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("0.5", 0.5),
        ("-5", 0.0),
        ("999999999", MAX_RETRY_AFTER_S),
        ("9" * 400, MAX_RETRY_AFTER_S),
        ("inf", MAX_RETRY_AFTER_S),
        ("nan", None),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thursday, 01-Jan-26 12:01:00 GMT", 60.0),
        ("Thu Jan  1 12:00:10 2026", 10.0),
        ("Thu, 01 Jan 2026 11:59:00 GMT", 0.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Thu, 99 Jan 2026 12:00:30 GMT", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after_s("custom", {"retry-after": text}, b"", NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({}, b'{"message":"You are being rate limited.","retry_after":0.65,"global":false}', 0.65),
        ({"retry-after": "3"}, b'{"retry_after":2.5}', 3.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset-after": "4.2"}, b"", 4.2),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset-after": "4.2"}, b"", None),
        ({}, b"<html>502 Bad Gateway</html>", None),
        ({}, b'{"retry_after":null}', None),
        ({}, b'{"retry_after":{}}', None),
        ({}, b"[1]", None),
        ({}, b"[" * 60000, None),
        ({}, b"\xff\xfe\xfa", None),
    ],
)
def test_what_discord_asks_for(headers: dict[str, str], body: bytes, seconds: float | None) -> None:
    assert retry_after_s("discord", headers, body, NOW) == seconds


def test_only_discord_speaks_in_the_body() -> None:
    assert retry_after_s("custom", {}, b'{"retry_after":9}', NOW) is None


def test_a_rate_limit_holds_the_endpoint() -> None:
    limited = judge("discord", 429, {}, b'{"retry_after":1.5}', NOW)
    assert (limited.retry_after_s, limited.hold_s) == (1.5, 1.5)
    spent = judge("discord", 204, {"x-ratelimit-remaining": "0", "x-ratelimit-reset-after": "2"}, b"", NOW)
    assert (spent.verdict, spent.hold_s) == (Verdict.DELIVERED, 2.0)
    assert judge("custom", 503, {"retry-after": "60"}, b"", NOW).retry_after_s == 60


@given(text=st.text(max_size=60), body=st.binary(max_size=80))
def test_nothing_a_receiver_says_raises(text: str, body: bytes) -> None:
    wait = retry_after_s("discord", {"retry-after": text, "x-ratelimit-remaining": text}, body, NOW)
    assert wait is None or 0 <= wait <= MAX_RETRY_AFTER_S
