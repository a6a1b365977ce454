"""When a call is tried again, and who is told."""

from __future__ import annotations

import logging

import httpx
import pytest

from hae_client.errors import Unreachable
from hae_client.retry import Tries


def refused() -> httpx.ConnectError:
    return httpx.ConnectError("refused", request=httpx.Request("GET", "http://127.0.0.1:1/v1/jobs"))


def test_the_first_failure_is_told_and_the_next_ones_are_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hae_client")
    tries = Tries(30)
    assert 0 < tries.again_in(refused()) <= 0.25
    assert 0 < tries.again_in(refused()) <= 0.5
    assert [record.getMessage() for record in caplog.records] == [
        "no answer from http://127.0.0.1:1: refused; trying again for 30 s"
    ]


def test_what_is_not_tried_again_is_raised_and_told_by_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hae_client")
    with pytest.raises(Unreachable):
        Tries(0).again_in(refused())
    assert not caplog.records
