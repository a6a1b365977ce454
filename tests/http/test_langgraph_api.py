"""The agent graph driven by the real langgraph-sdk over a real port."""

from __future__ import annotations

import ast
import asyncio
import re
import uuid
from pathlib import Path
from typing import Any

import langgraph_sdk
import pytest
import pytest_asyncio
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

from app.http.langgraph_api.events import NODE
from graphs.drawing import edges
from tests.http.catalogue import JOB, LOST
from tests.http.conftest import as_
from tests.support.langgraph_client import AGENT, Sdk, a_job, sdk, some_thread, under_way, watching
from tests.support.live_engine import Hae, Node

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def client(hae: Hae) -> Sdk:
    return sdk(hae)


async def test_a_job_from_its_submission_to_its_result(hae: Hae, client: Sdk) -> None:
    node = await Node.register(as_(hae, "miner"), "langgraph-e2e", gpu_model="LG-1", capabilities=["inference"])
    thread = await client.threads.create(metadata={"user": "ada"})
    assert (thread["status"], thread["values"], thread["metadata"]) == ("idle", None, {"user": "ada"})
    job: Any = {**JOB, "gpu_models": ["LG-1"]}
    submitted: Any = await client.runs.wait(thread["thread_id"], AGENT, input={"tool": "submit_job", "arguments": job})
    (call,) = submitted["calls"]
    assert (call["tool"], call["status"], call["problem"], call["arguments"]) == ("submit_job", "done", None, job)
    job_id = call["result"]["job_id"]
    running = asyncio.create_task(node.run_next("42"))
    watched: Any = await client.runs.wait(thread["thread_id"], AGENT, input=watching(job_id))
    await running
    # The next test's job goes to a node of its own.
    assert (await node.http.post(f"/v1/node/{node.id}/drain")).status_code == 200
    assert (watched["calls"][0]["result"]["state"], watched["calls"][0]["result"]["result"]) == ("completed", "42")
    assert (await client.threads.get(thread["thread_id"]))["values"] == watched
    states = await client.threads.get_history(thread["thread_id"])
    assert [one["values"] for one in states] == [watched, submitted]


async def test_the_example_of_the_docs_runs(hae: Hae) -> None:
    text = (Path(__file__).parents[2] / "docs" / "langgraph-api.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    node = await Node.register(as_(hae, "miner"), "langgraph-docs", capabilities=["inference"], vram_gb=24)
    running = asyncio.create_task(node.run_next("Hello yourself"))
    names: dict[str, Any] = {"url": hae.url, "key": hae.secrets["alice"]}
    # The await of a module's own code needs to be allowed.
    code = compile(example, "docs/langgraph-api.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await eval(code, names)
    await running
    await names["client"].aclose()
    assert (names["job"]["job_id"], names["job"]["result"]) == (names["job_id"], "Hello yourself")


async def test_the_same_with_the_synchronous_client(hae: Hae) -> None:
    def drive() -> tuple[Any, list[str], Any]:
        with langgraph_sdk.get_sync_client(url=hae.url, api_key=hae.secrets["alice"]) as client:
            thread_id = client.threads.create()["thread_id"]
            waited: Any = client.runs.wait(thread_id, AGENT, input={"tool": "submit_job", "arguments": JOB})
            job_id = waited["calls"][0]["result"]["job_id"]
            question: Any = {"tool": "get_job", "arguments": {"job_id": job_id}}
            kinds = [part.event for part in client.runs.stream(thread_id, AGENT, input=question)]
            run = client.runs.create(thread_id, AGENT, input=question)
            return job_id, kinds, client.runs.join(thread_id, run["run_id"])

    job_id, kinds, joined = await asyncio.to_thread(drive)
    assert kinds == ["metadata", "values", "values", "end"]
    assert joined["calls"][0]["result"]["job_id"] == job_id


async def test_a_stream_tells_each_call_as_it_ends(hae: Hae, client: Sdk) -> None:
    thread_id = await some_thread(client)
    calls: Any = [{"tool": "quote"}, {"tool": "get_job", "arguments": {"job_id": LOST}, "id": "mine"}]
    parts = [
        part
        async for part in client.runs.stream(
            thread_id, AGENT, input={"calls": calls}, stream_mode=["values", "updates", "events"]
        )
    ]
    run_id = parts[0].data["run_id"]
    assert [part.event for part in parts] == [
        "metadata", "events", "values", *["updates", "events", "values"] * 2, "events", "end",
    ]  # fmt: skip
    assert [call["status"] for call in parts[2].data["calls"]] == ["waiting", "waiting"]
    ended = [part.data["tool"]["calls"][0] for part in parts if part.event == "updates"]
    assert {call["id"]: call["status"] for call in ended} == {"call_1": "done", "mine": "failed"}
    assert parts[-1].data == {"run_id": run_id, "status": "success"}
    assert [part.data["event"] for part in parts if part.event == "events"] == [
        "on_chain_start", "on_tool_end", "on_tool_end", "on_chain_end",
    ]  # fmt: skip
    last = parts[-3].data
    assert last == await client.runs.join(thread_id, run_id)
    # Whoever comes late, or back, is told the same, from where it was.
    for position, part in enumerate(parts):
        again = [
            one
            async for one in client.runs.join_stream(
                thread_id, run_id, last_event_id=part.id, stream_mode=["values", "updates", "events"]
            )
        ]
        assert again == parts[position + 1 :]
    only = [part async for part in client.runs.join_stream(thread_id, run_id, stream_mode="updates")]
    assert only == [part for part in parts if part.event in ("metadata", "updates", "end")]


async def test_the_second_form_of_streams(client: Sdk) -> None:
    thread_id = await some_thread(client)
    parts: list[Any] = [
        part async for part in client.runs.stream(thread_id, AGENT, input={"tool": "quote"}, version="v2")
    ]
    assert [part["type"] for part in parts] == ["metadata", "values", "values"]
    assert parts[-1]["data"]["calls"][0]["result"]["price_per_gpu_hour_hyper"] is not None


async def test_problems_are_results_that_name_the_field_and_show_an_example(client: Sdk) -> None:
    calls: Any = [
        {"tool": "fly"},
        {"tool": "submit_job", "arguments": {"type": "llm_inference", "colour": "red"}},
        {"tool": "get_job", "arguments": {"job_id": LOST}},
        {"tool": "quote", "arguments": 7},
    ]
    answer: Any = await client.runs.wait(None, AGENT, input={"calls": calls})
    told = [call["problem"] for call in answer["calls"]]
    assert [problem["code"] for problem in told] == [
        "tool_not_found",
        "invalid_input",
        "job_not_found",
        "invalid_input",
    ]
    assert told[1]["field"] == "colour"
    assert "A valid call" in told[1]["next_action"] and "A valid call" in told[3]["next_action"]
    assert all(call["status"] == "failed" and call["result"] is None for call in answer["calls"])


async def test_calls_that_change_something_keep_their_order(hae: Hae, client: Sdk) -> None:
    job_id = await a_job(hae)
    question = {"tool": "get_job", "arguments": {"job_id": job_id}}
    calls: Any = [question, {"tool": "cancel_job", "arguments": {"job_id": job_id}}, question]
    answer: Any = await client.runs.wait(None, AGENT, input={"calls": calls})
    assert [call["result"]["state"] for call in answer["calls"]] == ["pending", "cancelled", "cancelled"]


async def test_messages_with_tool_calls_are_answered_by_messages(hae: Hae, client: Sdk) -> None:
    thread_id = await some_thread(client)
    asked: Any = {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "quote", "arguments": '{"duration_s": 60}'}},
            {"id": "c2", "type": "function", "function": {"name": "quote", "arguments": "{not json"}},
        ],
    }
    question = {"role": "user", "content": "What is a minute?", "id": "q1"}
    first: Any = await client.runs.wait(thread_id, AGENT, input={"messages": [question, asked]})
    assert first["messages"][0] == question
    answers = {message["tool_call_id"]: message for message in first["messages"][2:]}
    assert answers.keys() == {"c1", "c2"}
    assert all(message["role"] == "tool" and message["name"] == "quote" for message in answers.values())
    assert '"price_per_gpu_hour_hyper"' in answers["c1"]["content"]
    assert '"invalid_input"' in answers["c2"]["content"]
    # The form of LangChain, in the same conversation; a message of an id that is there takes its place.
    more: Any = {"type": "ai", "content": "", "tool_calls": [{"name": "availability", "args": {}, "id": "c3"}]}
    changed = {**question, "content": "What is an hour?"}
    second: Any = await client.runs.wait(thread_id, AGENT, input={"messages": [changed, more]})
    assert second["messages"][:4] == [changed, *first["messages"][1:]]
    told = second["messages"][-1]
    assert (told["type"], told["tool_call_id"], told["status"]) == ("tool", "c3", "success")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (None, "input"),
        ([], "input"),
        ({}, "input"),
        ({"tool": "quote", "calls": []}, "input"),
        ({"tool": ""}, "input.tool"),
        ({"tool": "quote", "args": {}}, "input.args"),
        ({"calls": []}, "input.calls"),
        ({"calls": [{"tool": "quote"}] * 51}, "input.calls"),
        ({"calls": [{"arguments": {}}]}, "input.calls[0].tool"),
        ({"calls": [{"tool": "quote", "name": "x"}]}, "input.calls[0].name"),
        ({"calls": [{"tool": "quote", "id": "a"}, {"tool": "quote", "id": "a"}]}, "input"),
        ({"messages": []}, "input.messages"),
        ({"messages": ["hello"]}, "input.messages[0]"),
        ({"messages": [{"role": "user", "content": "hello"}]}, "input.messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "input.messages[0].tool_calls[0].name"),
    ],
)
async def test_an_input_without_calls_is_refused_with_an_example(client: Sdk, given: Any, field: str) -> None:
    thread_id = await some_thread(client)
    with pytest.raises(UnprocessableEntityError) as refused:
        await client.runs.create(thread_id, AGENT, input=given)
    told: Any = refused.value.body
    assert (told["code"], told["field"]) == ("invalid_input", field)
    assert "A valid input" in told["next_action"]
    assert await client.runs.list(thread_id) == []


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"stream_mode": "messages"}, "stream_mode"),
        ({"stream_mode": ["values", "debug"]}, "stream_mode"),
        ({"command": {"resume": 1}}, "command"),
        ({"interrupt_before": ["tool"]}, "interrupt_before"),
        ({"checkpoint_id": "x"}, "checkpoint_id"),
        ({"webhook": "https://example.com"}, "webhook"),
        ({"after_seconds": 5}, "after_seconds"),
    ],
)
async def test_what_this_graph_cannot_do_is_refused(client: Sdk, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(UnprocessableEntityError) as refused:
        await client.runs.create(None, AGENT, input={"tool": "quote"}, **asked)
    told: Any = refused.value.body
    assert told["field"] == field
    assert told["next_action"]


async def test_what_cannot_change_a_run_is_taken(client: Sdk) -> None:
    run = await client.runs.create(
        None, AGENT, input={"tool": "quote"}, config={"tags": ["a"]}, context={"a": 1}, durability="exit",
        stream_resumable=True, stream_subgraphs=True, metadata={"mine": 1},
    )  # fmt: skip
    assert run["metadata"] == {"mine": 1}
    assert (await client.runs.join(run["thread_id"], run["run_id"]))["calls"][0]["status"] == "done"


async def test_runs_without_a_thread(client: Sdk) -> None:
    made: list[Any] = []
    run = await client.runs.create(None, AGENT, input={"tool": "quote"}, on_run_created=made.append)
    assert made == [{"run_id": run["run_id"], "thread_id": run["thread_id"]}]
    joined: Any = await client.runs.join(run["thread_id"], run["run_id"])
    assert joined["calls"][0]["status"] == "done"
    with pytest.raises(NotFoundError):
        await client.threads.get(run["thread_id"])
    kept = await client.runs.create(None, AGENT, input={"tool": "quote"}, on_completion="keep")
    await client.runs.join(kept["thread_id"], kept["run_id"])
    assert (await client.threads.get(kept["thread_id"]))["values"] is not None


async def test_a_run_can_make_its_thread(client: Sdk) -> None:
    thread_id = str(uuid.uuid4())
    with pytest.raises(NotFoundError) as missing:
        await client.runs.create(thread_id, AGENT, input={"tool": "quote"})
    assert '"if_not_exists"' in str(missing.value.body)
    for _ in range(2):
        await client.runs.wait(thread_id, AGENT, input={"tool": "quote"}, if_not_exists="create")
    assert len(await client.runs.list(thread_id)) == 2
    with pytest.raises(UnprocessableEntityError):
        await client.runs.create("not-a-uuid", AGENT, input={"tool": "quote"}, if_not_exists="create")


async def test_a_run_that_waits_is_interrupted(hae: Hae, client: Sdk) -> None:
    thread_id, job_id = await some_thread(client), await a_job(hae)
    calls: Any = [{"tool": "quote"}, {"tool": "submit_job", "arguments": JOB}, watching(job_id)]
    run = await client.runs.create(thread_id, AGENT, input={"calls": calls})
    following = asyncio.create_task(collected(client, thread_id, run["run_id"]))
    await under_way(client, thread_id, run["run_id"], steps=2)
    assert (await client.threads.get(thread_id))["status"] == "busy"
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    ended = await client.runs.get(thread_id, run["run_id"])
    assert ended["status"] == "interrupted"
    assert "run_cancelled" in (ended["cancel_reason"] or "")
    assert (await following)[-1] == ("end", {"run_id": run["run_id"], "status": "interrupted"})
    values: Any = await client.runs.join(thread_id, run["run_id"])
    assert [call["status"] for call in values["calls"]] == ["done", "done", "failed"]
    assert values["calls"][2]["problem"]["code"] == "run_cancelled"
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["values"]) == ("idle", values)
    # What it did stands, and calling it off once more changes nothing.
    job = await as_(hae, "alice").get(f"/v1/jobs/{values['calls'][1]['result']['job_id']}")
    assert job.json()["final"] is False
    await client.runs.cancel(thread_id, run["run_id"], action="rollback", wait=True)
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "interrupted"


async def collected(client: Sdk, thread_id: str, run_id: str) -> list[tuple[str, Any]]:
    return [(part.event, part.data) async for part in client.runs.join_stream(thread_id, run_id)]


async def test_a_rollback_leaves_no_trace_on_the_thread(hae: Hae, client: Sdk) -> None:
    thread_id = await some_thread(client)
    before = await client.runs.wait(thread_id, AGENT, input={"tool": "quote"})
    run = await client.runs.create(thread_id, AGENT, input=watching(await a_job(hae)))
    joining = asyncio.create_task(client.runs.join(thread_id, run["run_id"]))
    following = asyncio.create_task(collected(client, thread_id, run["run_id"]))
    await under_way(client, thread_id, run["run_id"])
    await client.runs.cancel(thread_id, run["run_id"], action="rollback", wait=True)
    with pytest.raises(NotFoundError):
        await client.runs.get(thread_id, run["run_id"])
    assert await joining == before
    assert (await following)[-1][0] == "end"
    assert (await client.threads.get(thread_id))["values"] == before
    assert len(await client.runs.list(thread_id)) == 1


async def test_runs_of_a_thread_come_one_after_the_other(hae: Hae, client: Sdk) -> None:
    thread_id, job_id = await some_thread(client), await a_job(hae)
    first = await client.runs.create(thread_id, AGENT, input=watching(job_id))
    await under_way(client, thread_id, first["run_id"])
    with pytest.raises(ConflictError) as busy:
        await client.runs.create(thread_id, AGENT, input={"tool": "quote"}, multitask_strategy="reject")
    assert first["run_id"] in str(busy.value.body)
    with pytest.raises(ConflictError):
        await client.threads.delete(thread_id)
    with pytest.raises(ConflictError):
        await client.runs.delete(thread_id, first["run_id"])
    second = await client.runs.create(thread_id, AGENT, input={"tool": "quote"}, multitask_strategy="enqueue")
    called_off = await client.runs.create(thread_id, AGENT, input={"tool": "quote"})
    assert (await client.runs.get(thread_id, second["run_id"]))["status"] == "pending"
    await client.runs.cancel(thread_id, called_off["run_id"], wait=True)
    assert (await client.runs.get(thread_id, called_off["run_id"]))["status"] == "interrupted"
    assert await client.runs.join(thread_id, called_off["run_id"]) == {}
    assert [run["run_id"] for run in await client.runs.list(thread_id, status="pending")] == [second["run_id"]]
    third: Any = await client.runs.wait(thread_id, AGENT, input={"tool": "quote"}, multitask_strategy="interrupt")
    assert third["calls"][0]["status"] == "done"
    found = {run["run_id"]: run["status"] for run in await client.runs.list(thread_id)}
    assert (found[first["run_id"]], found[second["run_id"]]) == ("interrupted", "interrupted")
    await client.runs.delete(thread_id, first["run_id"])
    assert len(await client.runs.list(thread_id, limit=2)) == 2
    assert first["run_id"] not in [run["run_id"] for run in await client.runs.list(thread_id)]
    await client.threads.delete(thread_id)
    with pytest.raises(NotFoundError):
        await client.runs.list(thread_id)


async def test_many_runs_are_called_off_at_once(hae: Hae, client: Sdk) -> None:
    bob, job_id = sdk(hae, "bob"), await a_job(hae, "bob")
    thread_id = await some_thread(bob)
    runs = [await bob.runs.create(thread_id, AGENT, input=watching(job_id)) for _ in range(3)]
    mine = await client.runs.create(None, AGENT, input=watching(await a_job(hae)))
    await bob.runs.cancel_many(thread_id=thread_id, run_ids=[run["run_id"] for run in runs[1:]])
    for run in runs[1:]:
        assert await bob.runs.join(thread_id, run["run_id"]) == {}
    await bob.runs.cancel_many(status="all")
    await bob.runs.join(thread_id, runs[0]["run_id"])
    assert {run["status"] for run in await bob.runs.list(thread_id)} == {"interrupted"}
    assert (await client.runs.get(mine["thread_id"], mine["run_id"]))["status"] in ("pending", "running")
    with pytest.raises(UnprocessableEntityError):
        await client.runs.cancel_many(thread_id=thread_id)
    await client.runs.cancel(mine["thread_id"], mine["run_id"], wait=True)


async def test_a_run_ends_with_its_client_where_that_is_wished(hae: Hae, client: Sdk) -> None:
    thread_id, job_id = await some_thread(client), await a_job(hae)
    async for part in client.runs.stream(thread_id, AGENT, input=watching(job_id), on_disconnect="cancel"):
        if part.event == "values":
            break
    (run,) = await client.runs.list(thread_id)
    await client.runs.join(thread_id, run["run_id"])
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "interrupted"


async def test_threads_are_kept_found_and_changed(client: Sdk, hae: Hae) -> None:
    group = str(uuid.uuid4())
    ids = [(await client.threads.create(metadata={"group": group, "n": n}))["thread_id"] for n in range(3)]
    await client.threads.update(ids[0], metadata={"n": 7, "more": [1]})
    assert (await client.threads.get(ids[0]))["metadata"] == {"group": group, "n": 7, "more": [1]}
    found = await client.threads.search(metadata={"group": group}, sort_by="created_at", sort_order="asc")
    assert [one["thread_id"] for one in found] == ids
    assert [one["thread_id"] for one in await client.threads.search(metadata={"group": group}, limit=1, offset=1)] == [
        ids[1]
    ]
    picked: Any = await client.threads.search(ids=ids[:1], select=["thread_id"])
    assert picked == [{"thread_id": ids[0]}]
    assert await client.threads.count(metadata={"group": group}) == 3
    assert await client.threads.count(metadata={"group": group}, status="busy") == 0
    same = await client.threads.create(thread_id=ids[0], if_exists="do_nothing")
    assert same["thread_id"] == ids[0]
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id=ids[0])
    await client.threads.delete(ids[0])
    with pytest.raises(NotFoundError):
        await client.threads.delete(ids[0])


async def test_states_of_a_thread_by_checkpoint(client: Sdk) -> None:
    thread_id = await some_thread(client)
    empty = await client.threads.get_state(thread_id)
    assert (empty["values"], empty["next"], empty["checkpoint"]["checkpoint_id"]) == ({}, [], None)
    assert await client.threads.get_history(thread_id) == []
    left = [
        await client.runs.wait(thread_id, AGENT, input={"tool": "quote", "arguments": {"duration_s": 60 * minutes}})
        for minutes in (1, 2, 3)
    ]
    states = await client.threads.get_history(thread_id, limit=2)
    assert [state["values"] for state in states] == [left[2], left[1]]
    assert states[0]["parent_checkpoint"] == states[1]["checkpoint"]
    assert states[1]["parent_checkpoint"] is not None
    (oldest,) = await client.threads.get_history(thread_id, before=states[1]["checkpoint"])
    assert (oldest["values"], oldest["parent_checkpoint"]) == (left[0], None)
    assert await client.threads.get_state(thread_id) == states[0]
    assert await client.threads.get_state(thread_id, checkpoint=states[1]["checkpoint"]) == states[1]
    middle = str(states[1]["checkpoint"]["checkpoint_id"])
    assert await client.threads.get_state(thread_id, checkpoint_id=middle) == states[1]
    values: Any = await client.threads.get_state(thread_id, select=["values"])
    assert values == {"values": left[2]}
    with pytest.raises(NotFoundError):
        await client.threads.get_state(thread_id, checkpoint_id=str(uuid.uuid4()))


async def test_another_account_sees_nothing_of_it(hae: Hae, client: Sdk) -> None:
    thread_id = await some_thread(client)
    run = await client.runs.create(thread_id, AGENT, input={"tool": "quote"})
    await client.runs.join(thread_id, run["run_id"])
    for name in ("bob", "ops"):
        other = sdk(hae, name)
        for asking in (
            other.threads.get(thread_id),
            other.threads.update(thread_id, metadata={}),
            other.threads.delete(thread_id),
            other.threads.get_state(thread_id),
            other.threads.get_history(thread_id),
            other.runs.list(thread_id),
            other.runs.get(thread_id, run["run_id"]),
            other.runs.cancel(thread_id, run["run_id"]),
            other.runs.delete(thread_id, run["run_id"]),
            other.runs.wait(thread_id, AGENT, input={"tool": "quote"}, raise_error=False),
        ):
            with pytest.raises(Exception, match=r"404|there is no"):
                await asking
        with pytest.raises(ConflictError):
            await other.threads.create(thread_id=thread_id, if_exists="do_nothing")
        assert await other.threads.search(ids=[thread_id]) == []
        await other.runs.cancel_many(thread_id=thread_id, run_ids=[run["run_id"]])
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "success"


async def test_rights_hold_as_everywhere(hae: Hae) -> None:
    for name in ("miner", "gone"):
        answer = await hae.client(**{"x-api-key": hae.secrets[name]}).post("/threads", json={})
        assert answer.status_code in (401, 403)
    assert (await hae.client().post("/threads", json={})).status_code == 401


async def test_the_assistant(client: Sdk, hae: Hae) -> None:
    (assistant,) = await client.assistants.search()
    assert assistant["graph_id"] == AGENT
    for name in (AGENT, assistant["assistant_id"]):
        assert await client.assistants.get(name) == assistant
    graph = await client.assistants.get_graph(AGENT)
    assert {(edge["source"], edge["target"]) for edge in graph["edges"]} == edges("agent")
    assert {"__start__", NODE, "__end__"} <= {node["id"] for node in graph["nodes"]}
    schemas = await client.assistants.get_schemas(AGENT)
    assert schemas["input_schema"] and schemas["output_schema"]
    assert await client.assistants.get_subgraphs(AGENT) == {}
    assert await client.assistants.count(graph_id="other") == 0
    assert await client.assistants.search(metadata={"created_by": "system"}, limit=1) == [assistant]
    with pytest.raises(NotFoundError):
        await client.assistants.get("other")
    with pytest.raises(NotFoundError) as missing:
        await client.runs.create(None, "other", input={"tool": "quote"})
    assert '"agent"' in str(missing.value.body)
    public = hae.client()
    assert (await public.get("/ok")).json() == {"ok": True}
    assert (await public.get("/info")).json()["strict_resume"] is False
