"""The trials themselves: each raises Nonconformity, saying what the plugin does wrong."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from agent_plugins.conformance import samples
from agent_plugins.conformance.subject import Nonconformity, Subject, require, shown
from agent_plugins.host import Host
from agent_plugins.loader import Loaded
from agent_plugins.protocol import AgentEvent, AgentRequest, Outcome, RequestInfo, ToolCall
from app.core.errors import HaeError

_UNKNOWN = "no_field_is_called_so"


def request_of(info: RequestInfo, body: Any) -> AgentRequest:
    """A request at the path, with a body of its own."""
    return AgentRequest(info.path, copy.deepcopy(body), signed=info.path == "webhook")


def example(subject: Subject, info: RequestInfo) -> None:
    """The example comes to calls that their tools take, of tools that were named."""
    calls = subject.calls_of(request_of(info, info.example))
    for call in calls:
        require(call.tool in info.tools, f"its example calls {call.tool}, which its description does not name")
        try:
            subject.tool(call).parse(msgspec.to_builtins(call.arguments))
        except HaeError as refusal:
            raise Nonconformity(f"its example makes a call that {call.tool} refuses: {refusal.detail}") from refusal
    for name in info.tools:
        require(name in subject.tools, f"it names {name!r}, which is no tool")


def determinism(subject: Subject, info: RequestInfo) -> None:
    """The same request twice makes the same calls, and the same answer."""
    request = request_of(info, info.example)
    first, second = (_plain(subject.calls_of(request)) for _ in range(2))
    require(first == second, "the same request makes other calls the second time")
    outcomes = _good(subject, subject.calls_of(request), "full")
    once, twice = (subject.render(request, outcomes) for _ in range(2))
    require(once == twice, "the same answers are rendered otherwise the second time")


def no_mutation(subject: Subject, info: RequestInfo) -> None:
    """What the plugin is given is the same afterwards."""
    request = request_of(info, info.example)
    outcomes = _good(subject, subject.calls_of(request), "full")
    require(request.body == info.example, "parse changes the body that it is given")
    answers = copy.deepcopy([one.answer for one in outcomes])
    subject.render(request, outcomes)
    require(request.body == info.example, "render changes the body that it is given")
    require([one.answer for one in outcomes] == answers, "render changes the answers that it is given")
    problem = next(samples.problems())
    kept = dict(problem)
    subject.render_error(request, problem)
    require(problem == kept, "render_error changes the problem that it is given")


def threads(subject: Subject, info: RequestInfo) -> None:
    """Called from eight threads at once it does what it does alone."""
    request = request_of(info, info.example)
    alone = _plain(subject.calls_of(request))

    def once(_: int) -> Any:
        return _plain(subject.calls_of(request))

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(once, range(64)):
            require(found == alone, "called from several threads at once it makes other calls")


def unknown_fields(subject: Subject, info: RequestInfo) -> None:
    """A field that there is not is refused, by the plugin or by the tool that it is passed on to, and named."""
    if not isinstance(info.example, dict):
        return
    bodies = [{**info.example, _UNKNOWN: 1}]
    bodies += [
        {**info.example, name: {**value, _UNKNOWN: 1}}
        for name, value in info.example.items()
        if isinstance(value, dict)
    ]
    for body in bodies:
        refusal = subject.refusal_of(request_of(info, body))
        require(refusal is not None, f"it ignores an unknown field: {shown(body)}")
        named = refusal is not None and _UNKNOWN in refusal.detail + refusal.field
        require(named, f"its refusal of an unknown field does not name it: {refusal}")


def wrong_values(subject: Subject, info: RequestInfo) -> None:
    """The example with fields missing or of wrong types is refused or passed on, never fallen over."""
    for _, body in samples.changed(info.example):
        request = request_of(info, body)
        refusal = subject.refusal_of(request)
        if isinstance(refusal, HaeError):
            subject.render_error(request, _problem(refusal))


def hostile_bodies(subject: Subject, info: RequestInfo) -> None:
    """Huge, deep and senseless bodies are refused or passed on in time."""
    for body in samples.hostile():
        request = AgentRequest(info.path, body)
        refusal = subject.parse(request)
        if isinstance(refusal, HaeError):
            _, answer = subject.render_error(request, _problem(refusal))
            require(len(answer) < 100_000, f"its refusal grows with the request: {len(answer)} bytes")


def hostile_paths(subject: Subject) -> None:
    """Paths that it has not are refused."""
    known = {info.path for info in subject.about.requests}
    for path in ("", "no/such/path", "..", "%00", samples.TEXT, "a" * 10_000, "a/" * 500, "__class__"):
        bodies = [None, {}, [], *(copy.deepcopy(info.example) for info in subject.about.requests)]
        for body in bodies:
            request = AgentRequest(path, body)
            found = subject.parse(request)
            if path not in known:
                require(isinstance(found, HaeError), f"it takes a request at {path[:60]!r}, which it does not describe")
            if isinstance(found, HaeError):
                subject.render_error(request, _problem(found))


def round_trip(subject: Subject, info: RequestInfo, how: str) -> None:
    """Answers of the tools come out with the ids that an agent needs to go on."""
    request = request_of(info, info.example)
    outcomes = _good(subject, subject.calls_of(request), how)
    status, body = subject.render(request, outcomes)
    require(status < 400, f"it renders a good answer under the status {status}")
    text = body.decode()
    for outcome in outcomes:
        for name in samples.IDS:
            value = (outcome.answer or {}).get(name)
            require(not value or value in text, f"its answer leaves out the {name} that {outcome.call.tool} gave")


def errors(subject: Subject, info: RequestInfo, problem: dict[str, Any]) -> None:
    """A problem comes out as one: with its code and its detail, whether of a call or of the whole request."""
    request = request_of(info, info.example)
    calls = subject.calls_of(request)
    answers = [subject.render_error(request, problem)]
    if calls:
        answers.append(subject.render(request, [Outcome(call, problem=dict(problem)) for call in calls]))
    for _, body in answers:
        text = body.decode()
        for name in ("code", "detail"):
            require(problem[name] in text, f"its answer leaves out the problem's {name}")


def mixed(subject: Subject, info: RequestInfo) -> None:
    """One call fails and the others do not: the problem is told."""
    request = request_of(info, info.example)
    calls = subject.calls_of(request)
    problem = next(samples.problems())
    for failed in range(len(calls)):
        outcomes = [
            Outcome(call, problem=dict(problem)) if number == failed else good
            for number, (call, good) in enumerate(zip(calls, _good(subject, calls, "full"), strict=True))
        ]
        _, body = subject.render(request, outcomes)
        require(problem["code"] in body.decode(), f"it hides that call {failed + 1} of {len(calls)} failed")


def failing_tool(subject: Subject, info: RequestInfo) -> None:
    """Through the engine's host, a tool that breaks is an answer and no exception."""
    loaded = Loaded(subject.plugin, subject.about, "conformance", built_in=False)

    async def broken(tool: str, arguments: dict[str, Any]) -> Any:
        raise RuntimeError("a secret of the engine's")

    def problem_of(error: BaseException) -> dict[str, Any]:
        return {**next(samples.problems()), "code": "internal_error", "status": 500}

    async def ask() -> bytes:
        return (await Host(loaded).answer(request_of(info, info.example), broken, problem_of)).body

    text = asyncio.run(ask()).decode()
    require("internal_error" in text or not subject.calls_of(request_of(info, info.example)), "it hides the failure")


def event(subject: Subject, given: AgentEvent) -> None:
    """An event is shown as JSON or not at all, twice alike, and is left as it was."""
    kept = copy.deepcopy(given)
    first, second = subject.event(given), subject.event(given)
    require(first == second, "the same event is shown otherwise the second time")
    require(given == kept, "event() changes the event that it is given")
    require(first is None or subject.about.events, "it shows an event, and says of itself that it shows none")
    if first is not None and given.job_id:
        require(given.job_id in first.decode(), "what it shows of a job's event leaves out the job_id")


def shows_some(subject: Subject) -> None:
    """A plugin that says that it shows events shows some."""
    if subject.about.events:
        require(
            any(subject.event(one) is not None for one in samples.events()),
            "it says that it shows events, and shows none; say events=False",
        )


def documented(subject: Subject) -> None:
    """It can be read: a docstring, summaries that say something, all of them different."""
    require(bool((type(subject.plugin).__doc__ or "").strip()), "its class has no docstring")
    texts = [info.summary for info in subject.about.requests]
    require(bool(texts), "it describes no requests")
    require(len(set(texts)) == len(texts), "two of its requests have the same summary")


def _good(subject: Subject, calls: Sequence[ToolCall], how: str) -> list[Outcome]:
    return [Outcome(call, answer=samples.answers(subject.tool(call))[how]) for call in calls]


def _plain(calls: Sequence[ToolCall]) -> list[Any]:
    return [(call.tool, msgspec.to_builtins(call.arguments)) for call in calls]


def _problem(refusal: HaeError) -> dict[str, Any]:
    return {
        **next(samples.problems()),
        "code": refusal.code,
        "detail": refusal.detail,
        "field": refusal.field,
        "next_action": refusal.next_action,
    }
