"""A2A by its own client, over both bindings, against a whole engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from a2a.client import A2ACardResolver, Client, ClientConfig, create_client
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Message,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import (
    A2AError,
    ContentTypeNotSupportedError,
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from app.core.access import Rights, Scope
from app.http.a2a.wire import from_json, to_json
from app.services import keys
from app.webhooks import signing
from tests.http.catalogue import PLANNED
from tests.http.conftest import make_keys
from tests.support.live_engine import Hae, Node, problem_of, running_engine, settings_for
from tests.support.receiver import Receiver
from tests.support.servers import Servers
from tools.registry import TOOLS

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOCAL = {"webhooks": {"allow_networks": ["127.0.0.0/8"]}}
VERSION = {"A2A-Version": "1.0"}
BINDINGS = ["JSONRPC", "HTTP+JSON"]
each_binding = pytest.mark.parametrize("binding", BINDINGS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hae(module_database_url: str, servers: Servers) -> AsyncIterator[Hae]:
    """An engine with a worker, which may send webhooks to this machine."""
    async with running_engine(settings_for(module_database_url, servers.redis_url, **LOCAL)) as running:
        await make_keys(running)
        yield running


@asynccontextmanager
async def talking(hae: Hae, name: str, binding: str = "JSONRPC", *, streaming: bool = True) -> AsyncIterator[Client]:
    """The SDK's client, with the key of that name."""
    headers = {"authorization": f"Bearer {hae.secrets[name]}"}
    async with httpx.AsyncClient(headers=headers, timeout=60, trust_env=False) as http:
        config = ClientConfig(httpx_client=http, supported_protocol_bindings=[binding], streaming=streaming)
        yield await create_client(hae.url, config)


def message(message_id: str, *parts: dict[str, Any], **more: Any) -> Message:
    return from_json({"messageId": message_id, "role": "ROLE_USER", "parts": list(parts), **more}, Message())


def skill(name: str, **arguments: Any) -> dict[str, Any]:
    return {"data": {"skill": name, "arguments": arguments}}


def job(gpu: str) -> dict[str, Any]:
    return skill("submit_job", type="llm_inference", prompt="Why?", gpu_models=[gpu])


async def sent(client: Client, asked: Message, **configuration: Any) -> list[StreamResponse]:
    request = SendMessageRequest(message=asked)
    if configuration:
        from_json(configuration, request.configuration)
    async with asyncio.timeout(60):
        return [one async for one in client.send_message(request)]


async def made(client: Client, asked: Message, **configuration: Any) -> Task:
    """The task of a message that is not waited for: a stream is left after its first word."""
    request = SendMessageRequest(message=asked)
    from_json({"returnImmediately": True, **configuration}, request.configuration)
    stream = cast("AsyncGenerator[StreamResponse, None]", client.send_message(request))
    async with asyncio.timeout(60), aclosing(stream) as answers:
        async for one in answers:
            return one.task
    raise AssertionError("no answer")


def state(task: Task) -> str:
    return str(TaskState.Name(task.status.state)).removeprefix("TASK_STATE_").lower()


async def test_the_card_tells_who_may_ask_what_and_where(hae: Hae) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        card = await A2ACardResolver(http, hae.url).get_agent_card()
        answers = [
            await http.get(hae.url + path + slashes)
            for path in ("/.well-known/agent-card.json", "/a2a/.well-known/agent-card.json")
            for slashes in ("", "/", "//")
        ]
        tag = answers[0].headers["etag"]
        same = await http.get(f"{hae.url}/.well-known/agent-card.json", headers={"if-none-match": tag})
    assert {(one.status_code, one.text) for one in answers} == {(200, answers[0].text)}
    assert (same.status_code, same.content) == (304, b"")
    assert [skill.id for skill in card.skills] == list(TOOLS)
    assert {one.protocol_binding: one.url for one in card.supported_interfaces} == {
        "JSONRPC": f"{hae.url}/a2a",
        "HTTP+JSON": f"{hae.url}/a2a/v1",
    }
    assert card.security_schemes["apiKey"].http_auth_security_scheme.scheme == "bearer"
    assert "apiKey" in card.security_requirements[0].schemes
    assert card.capabilities.streaming and card.capabilities.push_notifications


@each_binding
async def test_a_job_from_its_message_to_its_artifact(hae: Hae, binding: str) -> None:
    gpu = f"H100 {binding[:3]}"
    node = await Node.register(hae.client(hae.secrets["miner"]), f"wallet-{binding}", gpu_model=gpu)
    async with talking(hae, "alice", binding) as alice, talking(hae, "bob", binding) as bob:
        asked = message(
            f"stream-{binding}",
            {"text": "Why?"},
            contextId=f"mine {binding}",
            metadata={"arguments": {"gpu_models": [gpu], "model": "qwen-7b"}},
        )
        ran = asyncio.create_task(node.run_next({"text": "because", "n": 2**60, "deep": {"tokens": 3}}))
        updates = await sent(alice, asked)
        await ran
        task = updates[0].task
        assert (state(task), task.context_id, task.id[:4]) == ("submitted", f"mine {binding}", "job_")
        states = [TaskState.Name(one.status_update.status.state) for one in updates if one.HasField("status_update")]
        order = ["TASK_STATE_SUBMITTED", "TASK_STATE_WORKING", "TASK_STATE_COMPLETED"]
        assert sorted(states, key=order.index) == states and set(states[1:]) >= set(order[1:])
        artifact = updates[-2].artifact_update.artifact
        assert updates[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED
        assert to_json(artifact)["parts"] == [
            {"text": "because"},
            {"data": {"text": "because", "n": str(2**60), "deep": {"tokens": 3}}},
        ]
        assert {one.status_update.task_id for one in updates if one.HasField("status_update")} == {task.id}
        said = [one.status_update.status.message.parts for one in updates if one.HasField("status_update")]
        assert [parts[0].text for parts in said if parts] == ["50 %"]
        read = await alice.get_task(GetTaskRequest(id=task.id))
        assert (state(read), list(read.artifacts), read.context_id) == ("completed", [artifact], task.context_id)
        # The engine's own words for it are there, too.
        shown = (await hae.client(hae.secrets["alice"]).get(f"/v1/jobs/{task.id}")).json()
        assert to_json(read.metadata)["cost_hyper"] == shown["cost_hyper"] and shown["model"] == "qwen-7b"
        listed = await alice.list_tasks(ListTasksRequest(context_id=task.context_id))
        assert [one.id for one in listed.tasks] == [task.id] and not listed.tasks[0].artifacts
        listed = await alice.list_tasks(ListTasksRequest(include_artifacts=True, page_size=1))
        assert list(listed.tasks[0].artifacts) == [artifact]
        # The same message makes no second job.
        again = await sent(alice, asked)
        assert [one.task.id for one in again] == [task.id]
        for strange in (bob.get_task(GetTaskRequest(id=task.id)), bob.cancel_task(CancelTaskRequest(id=task.id))):
            with pytest.raises(TaskNotFoundError) as refused:
                await strange
            assert refused.value.data is not None and refused.value.data["code"] == "job_not_found"
        with pytest.raises(TaskNotFoundError):
            _ = [one async for one in bob.subscribe(SubscribeToTaskRequest(id=task.id))]
        assert not (await bob.list_tasks(ListTasksRequest(context_id=task.context_id))).tasks


@each_binding
async def test_a_message_waits_for_the_end_unless_told_not_to(hae: Hae, binding: str) -> None:
    gpu = f"L40 {binding[:3]}"
    node = await Node.register(hae.client(hae.secrets["miner"]), f"waiting-{binding}", gpu_model=gpu)
    async with talking(hae, "alice", binding, streaming=False) as alice:
        first = await made(alice, message(f"now-{binding}", job(gpu)))
        assert state(first) in ("submitted", "working") and first.context_id.startswith("ctx_")
        ran = asyncio.create_task(node.run_next("a text"))
        (answer,) = await sent(alice, message(f"now-{binding}", job(gpu)))
        await ran
        assert (answer.task.id, state(answer.task)) == (first.id, "completed")
        assert to_json(answer.task.artifacts[0])["parts"] == [{"text": "a text"}]
        # A context that the client did not name can be found by, too.
        found = await alice.list_tasks(ListTasksRequest(context_id=first.context_id))
        assert [one.id for one in found.tasks] == [first.id]


async def test_skills_that_make_no_task_answer_with_a_message(hae: Hae) -> None:
    async with talking(hae, "alice") as alice:
        (answer,) = await sent(alice, message("reads", skill("availability", type="render"), contextId="talk"))
        assert answer.message.context_id == "talk" and answer.message.message_id
        told = to_json(answer.message)["parts"][0]["data"]
        direct = await hae.client(hae.secrets["alice"]).post("/v1/tools/availability", json={"type": "render"})
        assert told == direct.json()
        dry = skill("submit_plan", **PLANNED, dry_run=True)
        (answer,) = await sent(alice, message("dry", dry))
        assert to_json(answer.message)["parts"][0]["data"]["dry_run"] is True


async def test_a_plan_is_a_task_with_an_artifact_of_each_of_its_tasks(hae: Hae) -> None:
    node = await Node.register(hae.client(hae.secrets["miner"]), "planned", gpu_model="B200")
    spec = {"type": "llm_inference", "prompt": "one", "gpu_models": ["B200"], "timeout_s": 60}
    second = {**spec, "prompt": "after {{tasks.one.result}}"}
    plan = skill(
        "submit_plan",
        tasks=[{"task_id": "one", "job": spec}, {"task_id": "two", "job": second}],
        budget_hyper="10",
        max_price_per_gpu_hour_hyper="5",
    )

    async def work() -> None:
        await node.run_next("first")
        await node.run_next("second")

    async with talking(hae, "alice") as alice:
        ran = asyncio.create_task(work())
        updates = await sent(alice, message("plan", plan))
        await ran
        task = updates[0].task
        assert task.id.startswith("plan_") and state(task) == "working"
        assert updates[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED
        ended = await alice.get_task(GetTaskRequest(id=task.id))
        assert {one.name: one.parts[0].text for one in ended.artifacts} == {"one": "first", "two": "second"}
        listed = await alice.list_tasks(ListTasksRequest(status=TaskState.TASK_STATE_COMPLETED, page_size=100))
        assert task.id in [one.id for one in listed.tasks]


@each_binding
async def test_cancelling(hae: Hae, binding: str) -> None:
    async with talking(hae, "alice", binding) as alice:
        task = await made(alice, message(f"cancel-{binding}", job("nowhere")))
        begun = asyncio.Event()
        following = asyncio.create_task(_followed(alice, task.id, begun))
        await begun.wait()
        ended = await alice.cancel_task(CancelTaskRequest(id=task.id))
        assert state(ended) == "canceled"
        updates = await following
        assert updates[0].HasField("task") and updates[-1].status_update.status.state == TaskState.TASK_STATE_CANCELED
        with pytest.raises(TaskNotCancelableError):
            await alice.cancel_task(CancelTaskRequest(id=task.id))
        with pytest.raises(UnsupportedOperationError, match="is over"):
            await _followed(alice, task.id)


async def _followed(client: Client, task_id: str, begun: asyncio.Event | None = None) -> list[StreamResponse]:
    """All updates of a task; ``begun`` is set at the first."""
    found = []
    async with asyncio.timeout(60):
        async for one in client.subscribe(SubscribeToTaskRequest(id=task_id)):
            found.append(one)
            if begun is not None:
                begun.set()
    return found


async def test_pages_of_tasks(hae: Hae) -> None:
    hae.secrets["pager"] = await hae.key("pager", Scope.AGENT)
    async with talking(hae, "pager") as pager:
        ids = [(await made(pager, message(f"page-{n}", job("nowhere")))).id for n in range(5)]
        plan = skill(
            "submit_plan", **{**PLANNED, "tasks": [{"task_id": "a", "job": {"type": "render", "region": "AF"}}]}
        )
        ids.append((await made(pager, message("page-plan", plan))).id)
        found: list[str] = []
        token, pages = "", 0
        while True:
            page = await pager.list_tasks(ListTasksRequest(page_size=2, page_token=token))
            found += [task.id for task in page.tasks]
            pages, token = pages + 1, page.next_page_token
            assert page.total_size >= 6 and page.page_size == 2
            if not token:
                break
        # The plan's own job is a task as well.
        assert [one for one in found if one in ids] == sorted(ids, key=lambda one: one.partition("_")[2], reverse=True)
        assert len(found) == len(set(found))
        working = await pager.list_tasks(ListTasksRequest(status=TaskState.TASK_STATE_WORKING))
        assert [task.id for task in working.tasks] == [ids[-1]]
        assert not (await pager.list_tasks(ListTasksRequest(status=TaskState.TASK_STATE_FAILED))).tasks
        for wrong in (ListTasksRequest(page_size=101), ListTasksRequest(page_token="nonsense")):
            with pytest.raises(InvalidParamsError):
                await pager.list_tasks(wrong)


@each_binding
async def test_push_notifications(hae: Hae, binding: str) -> None:
    gpu = f"A40 {binding[:3]}"
    secret = signing.new_secret()
    async with Receiver() as signed, Receiver() as plain, talking(hae, "alice", binding) as alice:
        config = {
            "url": signed.url("/push?k=s3cret"),
            "token": "for-this-task",
            "authentication": {"scheme": "standard-webhooks", "credentials": secret},
        }
        asked = message(f"push-{binding}", job(gpu), contextId="pushed")
        task = await made(alice, asked, taskPushNotificationConfig=config)
        bearer = {"scheme": "Bearer", "credentials": "s3cret-too"}
        for path in ("/replaced", "/plain"):
            other = from_json(
                {"taskId": task.id, "id": "second", "url": plain.url(path), "authentication": bearer},
                TaskPushNotificationConfig(),
            )
            kept = await alice.create_task_push_notification_config(other)
        assert (kept.id, kept.task_id, kept.authentication.scheme) == ("second", task.id, "Bearer")
        assert not kept.authentication.credentials
        listed = await alice.list_task_push_notification_configs(
            ListTaskPushNotificationConfigsRequest(task_id=task.id)
        )
        assert [one.url for one in listed.configs] == [config["url"], plain.url("/plain")]
        got = await alice.get_task_push_notification_config(
            GetTaskPushNotificationConfigRequest(task_id=task.id, id="second")
        )
        assert got == kept
        node = await Node.register(hae.client(hae.secrets["miner"]), f"pushed-{binding}", gpu_model=gpu)
        await node.run_next("done")
        for receiver in (signed, plain):
            async with asyncio.timeout(30):
                while not any("COMPLETED" in one.body.decode() for one in receiver.received):
                    receiver.arrived.clear()
                    await receiver.arrived.wait()
        last = next(one for one in signed.received if b"COMPLETED" in one.body)
        assert signing.verify(secret, last.headers, last.body, time.time())
        assert last.headers["x-a2a-notification-token"] == "for-this-task"
        update = from_json(last.json, StreamResponse()).status_update
        assert (update.task_id, update.context_id) == (task.id, "pushed")
        assert to_json(update.metadata)["event"] == "job_completed"
        states = [one.json["statusUpdate"]["status"]["state"] for one in signed.received]
        order = ["TASK_STATE_SUBMITTED", "TASK_STATE_WORKING", "TASK_STATE_COMPLETED"]
        assert sorted(states, key=order.index) == states, "not in their order"
        assert {one.path for one in plain.received if b"COMPLETED" in one.body} == {"/plain"}
        assert {one.headers["authorization"] for one in plain.received} == {"Bearer s3cret-too"}
        assert all("webhook-signature" not in one.headers for one in plain.received)
        # Told of the end, it is over for the hooks as well; REST shows them.
        async with asyncio.timeout(30):
            while True:
                rest = (await hae.client(hae.secrets["alice"]).get("/v1/hooks")).json()["hooks"]
                if all(one["ended_at"] for one in rest if one["subject"] == task.id):
                    break
        for _ in range(2):
            await alice.delete_task_push_notification_config(
                DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="second")
            )
        with pytest.raises(TaskNotFoundError):
            await alice.get_task_push_notification_config(
                GetTaskPushNotificationConfigRequest(task_id=task.id, id="second")
            )


async def test_a_url_that_is_refused_makes_no_job(hae: Hae) -> None:
    hae.secrets["careless"] = await hae.key("careless", Scope.AGENT)
    async with talking(hae, "careless") as careless:
        for config in (
            {"url": "http://169.254.169.254/"},
            {"url": "https://9.9.9.9/", "token": "a\nb"},
            {"url": "https://9.9.9.9/", "authentication": {"scheme": "standard-webhooks", "credentials": "whsec_x"}},
        ):
            with pytest.raises(InvalidParamsError) as refused:
                await made(careless, message("careless", job("nowhere")), taskPushNotificationConfig=config)
            assert refused.value.data is not None and refused.value.data["field"]
        assert not (await careless.list_tasks(ListTasksRequest())).tasks


TEXT = {"text": "Why?"}
WRONG: list[tuple[list[dict[str, Any]], type[A2AError], str]] = [
    ([skill("fly")], InvalidParamsError, "tool_not_found"),
    ([skill("submit_job", type="llm_inference", gpus=0)], InvalidParamsError, "invalid_input"),
    ([skill("submit_job", kind="render")], InvalidParamsError, "invalid_input"),
    ([skill("cancel_job")], InvalidParamsError, "invalid_input"),
    ([skill("get_job", job_id="job_nobodys")], TaskNotFoundError, "job_not_found"),
    ([{"data": {"arguments": {}}}], InvalidParamsError, "invalid_input"),
    ([{"data": {"skill": 1}}], InvalidParamsError, "invalid_input"),
    ([{"data": {"skill": "quote", "arguments": []}}], InvalidParamsError, "invalid_input"),
    ([{"data": {"skill": "quote", "argument": {}}}], InvalidParamsError, "invalid_input"),
    ([{"data": "quote"}], InvalidParamsError, "invalid_input"),
    ([skill("quote"), skill("quote")], InvalidParamsError, "invalid_input"),
    ([TEXT, skill("quote")], InvalidParamsError, "invalid_input"),
    ([{"url": "https://9.9.9.9/x.png"}], ContentTypeNotSupportedError, "content_type_not_supported"),
    ([{"raw": "aGVsbG8="}], ContentTypeNotSupportedError, "content_type_not_supported"),
    ([{"text": ""}], InvalidParamsError, ""),
]


@pytest.mark.parametrize(("parts", "kind", "code"), WRONG, ids=str)
async def test_messages_that_cannot_be_served(
    hae: Hae, parts: list[dict[str, Any]], kind: type[A2AError], code: str
) -> None:
    before = await hae.counts()
    for binding in BINDINGS:
        async with talking(hae, "alice", binding) as alice:
            with pytest.raises(kind) as refused:
                await sent(alice, message("wrong", *parts))
            data = refused.value.data or {}
            assert data.get("code", "") == code or not code
            assert data.get("next_action") or not code
    assert (await hae.counts())["jobs"] == before["jobs"]


async def test_a_task_takes_no_further_messages_and_a_message_id_stands_for_one_request(hae: Hae) -> None:
    async with talking(hae, "alice") as alice:
        task = await made(alice, message("once", job("nowhere")))
        with pytest.raises(UnsupportedOperationError):
            await sent(alice, message("more", {"text": "go on"}, taskId=task.id))
        with pytest.raises(TaskNotFoundError):
            await sent(alice, message("more", {"text": "go on"}, taskId="job_nobodys"))
        with pytest.raises(InvalidParamsError) as refused:
            await sent(alice, message("once", job("elsewhere")))
        assert refused.value.data is not None and refused.value.data["code"] == "idempotency_key_reused"
        with pytest.raises(InvalidParamsError):
            await sent(alice, message("long", job("nowhere"), contextId="c" * 201))


async def test_the_rights_of_a_key_count_here_too(hae: Hae) -> None:
    rights = Rights(tools=frozenset({"submit_job"}))
    _, hae.secrets["narrow"] = await keys.create(hae.engine.db, "narrow", ["agent"], rights=rights)
    async with talking(hae, "narrow") as narrow:
        task = await made(narrow, message("narrow", job("nowhere")))
        assert task.id.startswith("job_")
        for forbidden in (
            narrow.get_task(GetTaskRequest(id=task.id)),
            narrow.list_tasks(ListTasksRequest()),
            narrow.cancel_task(CancelTaskRequest(id=task.id)),
        ):
            with pytest.raises(UnsupportedOperationError) as refused:
                await forbidden
            assert refused.value.data is not None and refused.value.data["code"] == "tool_not_allowed"


async def test_requests_that_are_none(hae: Hae) -> None:
    anybody, alice = hae.client(), hae.client(hae.secrets["alice"])
    problem_of(await anybody.post("/a2a", json={}), 401, code="unauthorised")
    problem_of(await hae.client(hae.secrets["miner"]).post("/a2a", json={}), 403, code="forbidden")
    problem_of(await alice.get("/a2a/v1/nothing"), 404, code="no_such_route")
    assert "POST" in problem_of(await alice.get("/a2a"), 405)["detail"]
    problem_of(await alice.post("/a2a", content=b" " * (1 << 20) + b"{}"), 413, code="body_too_large")
    for body, code in (
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[]", -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "Fly"}', -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": 5}}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "\\u0000"}}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": ' + b"[" * 2000 + b"]" * 2000 + b"}", -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {}}', -32602),
    ):
        answer = await alice.post("/a2a", content=body, headers=VERSION)
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, code), (body[:80], answer.text)
        assert "Traceback" not in answer.text
    rest = await alice.post("/a2a/v1/message:send", content=b'{"message": {"messageId": "\\u0000"}}', headers=VERSION)
    assert (rest.status_code, rest.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    old = await alice.post("/a2a", json={"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}})
    assert old.json()["error"]["code"] == -32009, "without a version it is one that is not served"


async def test_a_task_is_followed_on_after_a_restart_of_the_server(database_url: str, redis_url: str) -> None:
    settings = settings_for(database_url, redis_url)
    async with running_engine(settings) as first:
        await make_keys(first)
        secrets = first.secrets
        stop = asyncio.Event()
        async with running_engine(settings, worker=False, stop=stop) as dying:
            dying.secrets = secrets
            async with talking(dying, "alice") as alice:
                task = await made(alice, message("survives", job("H200")))
                begun = asyncio.Event()
                cut = asyncio.create_task(_followed(alice, task.id, begun))
                await begun.wait()
                stop.set()
                assert state((await cut)[0].task) == "submitted"
        async with running_engine(settings, worker=False) as second:
            second.secrets = secrets
            node = await Node.register(second.client(secrets["miner"]), "survivor", gpu_model="H200")
            async with talking(second, "alice") as alice:
                begun = asyncio.Event()
                following = asyncio.create_task(_followed(alice, task.id, begun))
                await begun.wait()
                await node.run_next("at last")
                updates = await following
        assert (updates[0].task.id, updates[-2].artifact_update.artifact.parts[0].text) == (task.id, "at last")
        assert updates[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED
