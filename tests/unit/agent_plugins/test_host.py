"""The host: from a request to an answer, with tools that work, refuse and break."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from agent_plugins.host import Host, Hosts, keyed
from agent_plugins.loader import Found
from agent_plugins.protocol import MAX_CALLS, AgentEvent, AgentRequest, Outcome, Reply, ToolCall
from app.core.errors import HaeError, InvalidInput, NotFound
from tests.unit.agent_plugins.plugins import Echo, loaded


class Many(Echo):
    """Makes as many calls as it is told to, and answers with what came of each."""

    def parse(self, request: AgentRequest) -> Sequence[ToolCall]:
        return [ToolCall("submit_job", {"n": number}, note=number) for number in range(request.body)]

    def render(self, request: AgentRequest, outcomes: Sequence[Outcome]) -> Reply:
        return Reply([[one.call.note, one.answer, (one.problem or {}).get("code")] for one in outcomes], status=207)


def problem_of(error: BaseException) -> dict[str, Any]:
    code = error.code if isinstance(error, HaeError) else "internal_error"
    return {"code": code, "detail": str(error), "status": 422}


class Answer(msgspec.Struct):
    arguments: dict[str, Any]


async def test_calls_are_made_side_by_side_and_answered_in_order() -> None:
    under_way, all_there = 0, asyncio.Event()

    async def call(tool: str, arguments: dict[str, Any]) -> Answer:
        nonlocal under_way
        under_way += 1
        if under_way == 3:
            all_there.set()
        await all_there.wait()
        return Answer({"n": arguments["n"]})

    answer = await Host(loaded(Many())).answer(AgentRequest("call", 3), call, problem_of)
    assert answer.status == 207
    assert json.loads(answer.body) == [[n, {"arguments": {"n": n}}, None] for n in range(3)]


async def test_one_call_that_fails_keeps_no_other_back() -> None:
    async def call(tool: str, arguments: dict[str, Any]) -> Answer:
        if arguments["n"] == 0:
            raise InvalidInput("no")
        if arguments["n"] == 1:
            raise ZeroDivisionError
        return Answer({})

    answer = await Host(loaded(Many())).answer(AgentRequest("call", 3), call, problem_of)
    assert [one[2] for one in json.loads(answer.body)] == ["invalid_input", "internal_error", None]


async def test_a_request_of_no_calls_and_of_too_many() -> None:
    async def call(tool: str, arguments: dict[str, Any]) -> Answer:
        raise AssertionError("nothing is to be called")

    host = Host(loaded(Many()))
    assert json.loads((await host.answer(AgentRequest("call", 0), call, problem_of)).body) == []
    answer = await host.answer(AgentRequest("call", MAX_CALLS + 1), call, problem_of)
    assert f"more than {MAX_CALLS} calls" in json.loads(answer.body)["problem"]["detail"]
    assert answer.status == 422


async def test_a_repeated_request_carries_the_same_idempotency_keys() -> None:
    seen: list[str] = []

    async def call(tool: str, arguments: dict[str, Any]) -> Answer:
        seen.append(arguments["idempotency_key"])
        return Answer({})

    host = Host(loaded(Many()))
    for request_id in ("one", "one", "two", "x" * 5000):
        await host.answer(AgentRequest("call", 2, request_id=request_id), call, problem_of)
    assert seen[:2] == seen[2:4]
    assert len(set(seen)) == 6
    assert all(len(key) <= 200 for key in seen)


def test_keys_go_to_tools_that_take_them_and_never_in_place_of_the_agents_own() -> None:
    assert keyed("get_job", {"job_id": "job_1"}, "k") == {"job_id": "job_1"}
    assert keyed("submit_job", {}, "k") == {"idempotency_key": "k"}
    assert keyed("submit_plan", {"idempotency_key": "mine"}, "k") == {"idempotency_key": "mine"}
    jobs = keyed("submit_jobs", {"jobs": [{}, {"idempotency_key": "mine"}, "nonsense"]}, "k")["jobs"]
    assert jobs == [{"idempotency_key": "k/0"}, {"idempotency_key": "mine"}, "nonsense"]
    assert keyed("submit_jobs", {"jobs": "nonsense"}, "k") == {"jobs": "nonsense"}


async def test_events_are_shown_one_by_one() -> None:
    class Picky(Echo):
        def event(self, event: AgentEvent) -> Any:
            if event.position == 1:
                raise SystemExit(1)
            return None if event.position == 2 else {"at": event.position}

    host = Host(loaded(Picky()))
    events = [AgentEvent(n, f"evt_{n}", "job_started", "", "", "", {}) for n in (1, 2, 3)]
    seen = await host.show(events)
    assert [(one.body, one.failed) for one in seen] == [(None, True), (None, False), (b'{"at":3}', False)]
    assert host.guard.failures == 1


def test_unknown_names_are_answered_with_those_there_are() -> None:
    hosts = Hosts(Found({"echo": loaded(Echo())}, ()))
    assert hosts.get("echo").guard.name == "echo"
    with pytest.raises(NotFound) as caught:
        hosts.get("nobody")
    assert caught.value.code == "plugin_not_found"
    assert "echo" in caught.value.next_action
