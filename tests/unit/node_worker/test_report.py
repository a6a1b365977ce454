"""Whatever an executor comes up with, the server gets a report it can take."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.node_worker.executors.base import Outcome
from app.node_worker.run import encode_report


def reported(outcome: Outcome) -> tuple[str, dict[str, Any]]:
    action, body = encode_report(outcome)
    return action, json.loads(body)


def test_a_result_goes_with_logs_and_metrics() -> None:
    outcome = Outcome(result=[1, None], logs=["loaded"], metrics={"tokens": 3})
    assert reported(outcome) == ("result", {"result": [1, None], "logs": ["loaded"], "metrics": {"tokens": 3}})


@pytest.mark.parametrize("result", [object(), {"a": {1j}}, "\ud800"])
def test_a_result_that_is_no_json_is_a_failure(result: object) -> None:
    action, body = reported(Outcome(result=result))
    assert action == "failure"
    assert body["error"].startswith("the executor's result is no JSON")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("", "failed without saying why"),
        ("a\0b", "a?b"),
        ("half \ud800", "half ?"),
        ("x" * 5_000, "x" * 2_000),
    ],
)
def test_an_error_is_made_fit_to_send(error: str, told: str) -> None:
    assert reported(Outcome.failure(error)) == ("failure", {"error": told, "logs": [], "metrics": {}})


def test_a_failure_goes_without_what_cannot_be_encoded() -> None:
    assert reported(Outcome(error="broke", metrics={"model": object()})) == ("failure", {"error": "broke"})
