"""A run's events and values, told from its row: the same whenever, wherever and from whichever event on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidInput, NotFound
from app.http.langgraph_api import inputs
from app.http.langgraph_api.events import MODES, RunEvent, events_of
from app.http.langgraph_api.progress import MOST_MESSAGES, Progress, merged, values_at
from app.http.problems import problem_from
from app.store.agent_runs import RunRow
from tools.schemas import NetworkMetrics

QUICK = settings(max_examples=40, deadline=None)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def row(output: dict[str, Any] | None, status: str = "running", error: str | None = None) -> RunRow:
    return RunRow("run", "thread", "alice", "key", status, {}, output, error, False, NOW, NOW)


def told(of: RunRow, after: int = -1, modes: tuple[str, ...] = MODES) -> list[RunEvent]:
    return list(events_of(of, "thread", modes, after))


@st.composite
def progresses(draw: st.DrawFn) -> Progress:
    """A run of some calls, of which some have ended, in any order."""
    reply = st.sampled_from(["", "role", "type"])
    calls = [
        {"id": f"c{number}", "tool": "quote", "arguments": {"n": number}, "reply": draw(reply)}
        for number in range(draw(st.integers(1, 6)))
    ]
    progress = Progress("run", inputs.Asked(calls, []), {})
    for index in draw(st.permutations(range(len(calls))))[: draw(st.integers(0, len(calls)))]:
        if draw(st.booleans()):
            progress.ended(index, NetworkMetrics())
        else:
            progress.ended(index, problem=problem_from(NotFound("no such thing")))
    return progress


@QUICK
@given(progresses(), st.sets(st.sampled_from(MODES)), st.sampled_from(["running", "success", "error", "interrupted"]))
def test_a_reader_goes_on_from_any_event_in_any_modes(progress: Progress, modes: set[str], status: str) -> None:
    ended = row(progress.output, status, "code: message")
    every = told(ended)
    assert [event.id for event in every] == sorted({event.id for event in every})
    wanted = [event for event in every if event.kind not in MODES or event.kind in modes]
    assert told(ended, modes=tuple(modes)) == wanted
    for event in every:
        assert told(ended, event.id, tuple(modes)) == [one for one in wanted if one.id > event.id]


@QUICK
@given(progresses())
def test_what_was_told_stays_true_as_the_run_goes_on(progress: Progress) -> None:
    order = progress.output["order"]
    seen: list[RunEvent] = []
    for step in range(len(order) + 1):
        earlier = {**progress.output, "order": order[:step]}
        now = told(row(earlier))
        assert now[: len(seen)] == seen
        assert now[-1].data == values_at(progress.output, step)
        seen = now
    assert told(row(progress.output, "success"))[: len(seen)] == seen


@QUICK
@given(progresses())
def test_a_run_that_ends_leaves_no_call_without_an_answer(progress: Progress) -> None:
    progress.give_up(problem_from(NotFound("gone")))
    calls = progress.values["calls"]
    assert sorted(progress.output["order"]) == list(range(len(calls)))
    for call in calls:
        assert (call["result"] is None) is (call["status"] == "failed")
        assert (call["problem"] is None) is (call["status"] == "done")
    answered = [message["tool_call_id"] for message in progress.values["messages"]]
    assert sorted(answered) == [call["id"] for call in progress.output["calls"] if call["reply"]]


def test_before_a_run_starts_there_is_its_metadata_and_afterwards_its_end() -> None:
    assert [event.kind for event in told(row(None, "pending"))] == ["metadata"]
    assert [event.kind for event in told(row(None, "interrupted"))] == ["metadata", "events", "end"]
    kinds = [(event.kind, event.data) for event in told(row(None, "error", "server_restarted: it died"), modes=())]
    assert kinds[1:] == [
        ("error", {"error": "server_restarted", "message": "it died"}),
        ("end", {"run_id": "run", "status": "error"}),
    ]


def test_messages_are_merged_by_id_and_only_the_last_are_kept() -> None:
    first = merged([], [{"role": "user", "content": "a"}, {"role": "user", "content": "b", "id": "x"}], "r1")
    assert [message["id"] for message in first] == ["r1-0", "x"]
    assert merged(first, [{"role": "user", "content": "c", "id": "x"}], "r2")[1]["content"] == "c"
    many = [{"content": str(number)} for number in range(MOST_MESSAGES + 5)]
    progress = Progress("r", inputs.Asked([], many), {})
    assert [message["content"] for message in progress.values["messages"]] == [
        str(number) for number in range(5, MOST_MESSAGES + 5)
    ]


@QUICK
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["quote", "c1"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["tool", "arguments", "calls", "messages", "tool_calls", "id", "function", "name", "args", "role"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_any_input_is_read_or_refused_with_an_example(given_input: Any) -> None:
    problem: InvalidInput | None = None
    try:
        asked = inputs.read(given_input)
    except InvalidInput as refused:
        problem = refused
    if problem is None:
        assert asked.calls
        assert len({call["id"] for call in asked.calls}) == len(asked.calls)
    else:
        assert problem.field.startswith("input")
        assert problem.next_action.startswith("A valid input: ")


@pytest.mark.parametrize("arguments", ["{", "7 7", '"\\u0000"', '{"a": 99999999999999999999}', "[" * 100 + "]" * 100])
def test_arguments_that_are_not_fit_to_be_read_stay_a_text(arguments: str) -> None:
    function = {"name": "quote", "arguments": arguments}
    asked = inputs.read({"messages": [{"tool_calls": [{"id": "c", "function": function}]}]})
    assert asked.calls[0]["arguments"] == arguments
