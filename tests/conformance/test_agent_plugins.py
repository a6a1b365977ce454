"""The shipped plugins conform, and the suite finds what is wrong with those that do not."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from agent_plugins import conformance
from agent_plugins.conformance import samples, subject
from agent_plugins.eliza.plugin import ElizaPlugin
from agent_plugins.hyper_agent import HyperAgentPlugin
from agent_plugins.protocol import About, AgentEvent, AgentRequest, Reply, ToolCall
from tests.support.json_schema import faults
from tests.unit.agent_plugins.plugins import Echo
from tools.registry import TOOLS, Tool, describe


@pytest.mark.parametrize("plugin", [ElizaPlugin(), HyperAgentPlugin(), Echo()], ids=lambda one: one.name)
def test_it_conforms(plugin: Any) -> None:
    results = conformance.check(plugin)
    assert len(results) > 80
    assert [(str(one.case), one.fault) for one in results if not one.passed] == []


class Mutable(Echo):
    """Breaks the protocol in one place, given as a method to put in place of its own."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        for name, method in methods.items():
            setattr(self, name, lambda *given, method=method: method(*given))


_SOUND = Echo()
_count = itertools.count()
_never = threading.Event()
_meeting = threading.Barrier(2)


@pytest.fixture(autouse=True)
def _released() -> Iterator[None]:
    """What hangs for ever goes on once its test is over."""
    yield
    _never.set()
    _never.clear()


def forgetful(request: AgentRequest) -> Any:
    """Takes what it knows, and looks at nothing else."""
    calls = _SOUND.parse(dataclasses.replace(request, body={k: request.body[k] for k in ("call", "with")}))
    return [ToolCall(call.tool, {"job_id": call.arguments["job_id"]}) for call in calls]


def trusting(request: AgentRequest) -> Any:
    """Never asks what it has been sent."""
    return [ToolCall(request.body["call"], request.body["with"])]


def moody(request: AgentRequest) -> Any:
    calls = _SOUND.parse(request)
    return [ToolCall("get_job", {**calls[0].arguments, "job_id": f"job_{next(_count)}"})]


def greedy(request: AgentRequest) -> Any:
    calls = _SOUND.parse(request)
    request.body.pop("with")
    return calls


def anywhere(request: AgentRequest) -> Any:
    return _SOUND.parse(dataclasses.replace(request, path="call"))


def undescribed(request: AgentRequest) -> Any:
    return [*_SOUND.parse(request), ToolCall("network_metrics")]


def endless(request: AgentRequest) -> Iterator[ToolCall]:
    calls = _SOUND.parse(request)
    while True:
        yield from calls


def waiting(request: AgentRequest) -> Any:
    if request.path == "call" and not isinstance(request.body, dict):
        _never.wait()
    return _SOUND.parse(request)


def of_one_thread(request: AgentRequest) -> Any:
    """Mixes up requests that meet."""
    try:
        _meeting.wait(0.2)
    except threading.BrokenBarrierError:
        _meeting.reset()
        return _SOUND.parse(request)
    return [ToolCall("network_metrics")]


def keeping_ids(request: AgentRequest, outcomes: Any) -> Reply:
    (outcome,) = outcomes
    return Reply({"state": (outcome.answer or {}).get("state"), "problem": outcome.problem})


def smiling(request: AgentRequest, outcomes: Any) -> Reply:
    (outcome,) = outcomes
    return Reply({"answer": outcome.answer, "all": "well"})


def scribbling(request: AgentRequest, outcomes: Any) -> Reply:
    reply = _SOUND.render(request, outcomes)
    if outcomes[0].answer is not None:
        outcomes[0].answer["seen"] = True
    return reply


def repeating(request: AgentRequest, problem: Any) -> Reply:
    return Reply({"problem": problem, "sent": request.body}, status=problem["status"])


def scribbling_on_events(event: AgentEvent) -> Any:
    event.data.update(seen=True)  # type: ignore[attr-defined]
    return {"kind": event.kind, "job_id": event.job_id}


def quiet() -> About:
    return dataclasses.replace(_SOUND.describe(), events=False)


def mistaken() -> About:
    about = _SOUND.describe()
    example = {"call": "get_job", "with": {"id": 1}}
    return dataclasses.replace(about, requests=(dataclasses.replace(about.requests[0], example=example),))


def boastful() -> About:
    about = _SOUND.describe()
    return dataclasses.replace(about, requests=(dataclasses.replace(about.requests[0], tools=("get_job", "fly")),))


@pytest.mark.parametrize(
    ("methods", "area", "fault"),
    [
        ({"describe": lambda: None}, "shape", "describe() must give an About"),
        ({"describe": mistaken}, "example", "get_job refuses"),
        ({"describe": boastful}, "example", "'fly', which is no tool"),
        ({"describe": quiet}, "events", "says of itself that it shows none"),
        ({"parse": forgetful}, "unknown fields", "it ignores an unknown field"),
        ({"parse": trusting}, "wrong values", "raised KeyError"),
        ({"parse": trusting}, "hostile", "raised TypeError"),
        ({"parse": moody}, "same twice", "makes other calls the second time"),
        ({"parse": greedy}, "nothing changed", "parse changes the body"),
        ({"parse": anywhere}, "hostile", "which it does not describe"),
        ({"parse": undescribed}, "example", "which its description does not name"),
        ({"parse": endless}, "example", "more than 32 calls"),
        ({"parse": waiting}, "hostile", "it took longer than"),
        ({"parse": of_one_thread}, "threads", "from several threads at once"),
        ({"parse": lambda request: [{"tool": "get_job"}]}, "example", "gave dict, not a ToolCall"),
        ({"parse": lambda request: [ToolCall("fly")]}, "example", "calls fly, which its description does not name"),
        ({"render": keeping_ids}, "answers", "leaves out the job_id"),
        ({"render": smiling}, "errors", "leaves out the problem's code"),
        ({"render": smiling}, "one of several fails", "it hides that call 1 of 1 failed"),
        ({"render": smiling}, "broken tool", "it hides the failure"),
        ({"render": scribbling}, "nothing changed", "render changes the answers"),
        ({"render": lambda request, outcomes: {"answer": 1}}, "answers", "not a Reply"),
        ({"render": lambda request, outcomes: Reply(object())}, "answers", "render raised TypeError"),
        ({"render": lambda request, outcomes: Reply({}, status=0)}, "answers", "the status 0"),
        ({"render": lambda request, outcomes: Reply(next(_count))}, "same twice", "rendered otherwise the second time"),
        ({"render": lambda request, outcomes: Reply({}, status=500)}, "answers", "good answer under the status 500"),
        ({"render_error": lambda request, problem: Reply("no")}, "errors", "leaves out the problem's code"),
        ({"render_error": repeating}, "hostile", "its refusal grows with the request"),
        (
            {"render_error": lambda request, problem: Reply(problem.pop("code"))},
            "nothing changed",
            "render_error changes",
        ),
        ({"event": lambda event: {"kind": event.kind}}, "events", "leaves out the job_id"),
        ({"event": lambda event: None}, "events", "and shows none; say events=False"),
        ({"event": lambda event: object()}, "events", "raised TypeError"),
        ({"event": lambda event: [next(_count), event.job_id]}, "events", "shown otherwise the second time"),
        ({"event": scribbling_on_events}, "events", "event() changes the event"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else str(given)[:40],
)
def test_what_is_wrong_is_found(
    methods: dict[str, Callable[..., Any]], area: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if methods.get("parse") is waiting:
        monkeypatch.setattr(subject, "DEADLINE_S", 0.05)
    found = [case for case in conformance.cases(Mutable(**methods)) if case.area == area]
    wrong = []
    for case in found:
        try:
            case.run()
        except conformance.Nonconformity as told:
            wrong.append(str(told))
    assert any(fault in one for one in wrong), wrong or found


def test_one_without_the_shape_gets_the_one_case_that_says_so() -> None:
    (result,) = conformance.check(object())  # type: ignore[arg-type]
    assert "it is no AgentPlugin" in result.fault
    (result,) = conformance.check(Mutable(describe=lambda: 1 // 0))
    assert "ZeroDivisionError" in result.fault


def test_one_that_hangs_is_not_waited_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "DEADLINE_S", 0.02)
    results = conformance.check(Mutable(parse=lambda request: _never.wait()))
    hung = [one for one in results if "it took longer than" in one.fault and not one.fault.startswith("not tried")]
    assert len(hung) == 3
    assert sum(one.fault.startswith("not tried, because it hangs: parse(") for one in results) > 50


def test_one_that_breaks_a_case_itself_is_told_so() -> None:
    class Worse(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    def worse(event: AgentEvent) -> Any:
        raise Worse

    results = conformance.check(Mutable(event=worse))
    assert all("Worse" in one.fault for one in results if one.case.area == "events")


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_sample_answers_are_answers_of_the_tool(tool: Tool) -> None:
    for answer in samples.answers(tool).values():
        msgspec.convert(answer, tool.output)
        assert faults(answer, describe(tool)["output_schema"]) == []


def test_cases_are_named_apart() -> None:
    names = [str(case) for case in conformance.cases(ElizaPlugin())]
    assert len(set(names)) == len(names)
