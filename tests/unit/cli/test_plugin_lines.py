"""What `hae plugin check` prints of a plugin that does not conform."""

from __future__ import annotations

import pytest

from agent_plugins.conformance import Case, Result
from app.cli.plugin import _show


def failed(area: str, subject: str, fault: str) -> Result:
    return Result(Case(area, subject, lambda: None), fault)


def test_a_fault_of_many_cases_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    hanging = [failed("events", f"kind {number}", "not tried, because [it] hangs") for number in range(61)]
    _show([failed("shape", "attributes", ""), *hanging, failed("events", "kind x", "it is no JSON")])
    assert capsys.readouterr().out.splitlines() == [
        "ok  shape: 1 of 1",
        "no  events: 0 of 62",
        "      kind 0 and 60 more: not tried, because [it] hangs",
        "      kind x: it is no JSON",
    ]
