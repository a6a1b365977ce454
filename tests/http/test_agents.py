"""Plugins over HTTP: requests in their own form, signed messages, events, and plugins that are no good."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_plugins.host import Host
from agent_plugins.isolation import Guard
from agent_plugins.protocol import AgentEvent, AgentRequest, ToolCall
from app.core.access import Rights, Scope
from app.services import keys
from app.services.signed_calls import secret_of
from app.webhooks import signing
from tests.http.conftest import as_
from tests.http.test_fuzz import QUICK, values
from tests.support.event_stream import events_in
from tests.support.live_engine import Hae, Node, problem_of
from tests.unit.agent_plugins.plugins import Echo, loaded

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOST = "job_01jd3k5m7p9r1t3v5x7z9b1d3f"
JOB = {"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain quantum computing"}
SUBMIT = {"action": "SUBMIT_JOB", "options": JOB}


@contextmanager
def installed(running: Hae, plugin: Any, deadline_s: float = 2.0) -> Iterator[Host]:
    """The plugin among those of a running engine."""
    host = Host(loaded(plugin), Guard(plugin, deadline_s))
    plugins = running.engine.plugins
    before, plugins.all = plugins.all, {**plugins.all, plugin.name: host}
    try:
        yield host
    finally:
        plugins.all = before


async def test_the_list_says_what_each_plugin_takes(still: Hae) -> None:
    answer = await as_(still, "alice").get("/v1/agents")
    assert answer.status_code == 200
    told = {one["name"]: one for one in answer.json()["plugins"]}
    assert {"eliza", "hyper_agent"} <= told.keys()
    paths = {one["path"]: one for one in told["eliza"]["requests"]}
    assert paths["actions/SUBMIT_JOB"]["tools"] == ["submit_job"]
    assert not told["eliza"]["off"]
    one = await as_(still, "alice").get("/v1/agents/eliza")
    assert one.json() == told["eliza"]


async def test_unknown_plugins_and_paths_say_what_there_is(still: Hae) -> None:
    for method, path in (
        ("GET", "/v1/agents/nobody"),
        ("POST", "/v1/agents/nobody/do"),
        ("GET", "/v1/agents/no/events"),
    ):
        told = problem_of(await as_(still, "alice").request(method, path, json=None), 404, code="plugin_not_found")
        assert "eliza" in told["next_action"]
    answer = await as_(still, "alice").post("/v1/agents/eliza/nothing", json=SUBMIT)
    assert answer.status_code == 404
    assert answer.json()["data"]["problem"]["code"] == "no_such_route"


async def test_keys_are_needed_as_everywhere(still: Hae) -> None:
    for path in ("/v1/agents", "/v1/agents/eliza", "/v1/agents/eliza/events", "/v1/agents/eliza/webhook"):
        problem_of(await still.client().get(path), 401)
        problem_of(await as_(still, "miner").get(path), 403)
    problem_of(await still.client().post("/v1/agents/eliza/actions", json=SUBMIT), 401)
    problem_of(await as_(still, "miner").post("/v1/agents/eliza/actions", json=SUBMIT), 403)
    problem_of(await as_(still, "alice").get("/internal/agents"), 403)


async def test_eliza_has_a_job_done(hae: Hae) -> None:
    alice = as_(hae, "alice")
    node = await Node.register(as_(hae, "miner"), "wallet-eliza", gpu_model="ELIZA 1")
    wants = {**JOB, "gpuModels": ["ELIZA 1"]}
    there = (
        await alice.post(
            "/v1/agents/eliza/actions", json={"action": "CHECK_AVAILABILITY", "options": {"gpu_models": ["ELIZA 1"]}}
        )
    ).json()
    assert there["success"] and there["values"]["availableNow"] == 1
    made = await alice.post(
        "/v1/agents/eliza/actions/SUBMIT_JOB", json={"options": wants, "message": {"content": {"text": "go"}}}
    )
    assert made.status_code == 200
    job_id = made.json()["values"]["jobId"]
    assert made.json()["data"]["actionName"] == "SUBMIT_JOB"
    asked = {"action": "waitForJob", "options": {"jobId": job_id, "waitS": 30}}
    waiting = asyncio.create_task(alice.post("/v1/agents/eliza/actions", json=asked))
    await node.run_next(result={"text": "qubits"})
    done = (await waiting).json()
    assert done["success"] and done["values"]["jobState"] == "completed" and done["values"]["jobFinal"]
    assert "qubits" in done["text"]
    assert done["data"]["answer"]["result"] == {"text": "qubits"}
    assert done["error"] == ""


async def test_errors_come_in_the_plugins_form_under_their_status(still: Hae) -> None:
    alice = as_(still, "alice")
    wrong: list[tuple[Any, int, str, str]] = [
        ({"action": "SUBMIT_JOB", "options": {"type": "dance"}}, 422, "invalid_input", "type"),
        ({"action": "SUBMIT_JOB", "options": {**JOB, "gpuz": 1}}, 422, "invalid_input", "gpuz"),
        ({"action": "SUBMIT_JOB", "job": JOB}, 422, "invalid_input", "job"),
        ({"action": "CANCEL_JOB", "options": {}}, 422, "invalid_input", "job_id"),
        ({"action": "CANCEL_JOB", "options": {"job_id": LOST}}, 404, "job_not_found", "job_id"),
        ({"action": "DANCE"}, 422, "invalid_input", "action"),
        (["SUBMIT_JOB"], 422, "invalid_input", ""),
        (None, 422, "invalid_input", "action"),
    ]
    for body, status, code, field in wrong:
        answer = await alice.post("/v1/agents/eliza/actions", json=body)
        told = answer.json()
        assert answer.status_code == status, told
        assert told["success"] is False
        problem = told["data"]["problem"]
        assert (problem["code"], problem.get("field", "")) == (code, field)
        assert problem["next_action"] and problem["detail"] in told["text"]
        assert told["values"]["problemCode"] == code


@pytest.mark.parametrize(
    "path", ["eliza/actions", "eliza/actions/WAIT_FOR_JOB", "hyper_agent/scale", "hyper_agent/status"]
)
async def test_random_bodies_are_never_a_failure_of_ours(still: Hae, path: str) -> None:
    drawn: list[Any] = []
    names = st.sampled_from(
        ["action", "options", "job", "inputs", "copies", "terms", "tasks", "plan_id", "job_id", "message"]
    )
    bodies = st.one_of(
        values, st.dictionaries(names, st.one_of(values, st.sampled_from(["SUBMIT_JOB", LOST])), max_size=5)
    )

    @QUICK
    @given(body=bodies)
    def draw(body: Any) -> None:
        drawn.append(body)

    await asyncio.to_thread(draw)
    for body in drawn:
        answer = await as_(still, "alice").post(f"/v1/agents/{path}", json=body)
        assert answer.status_code < 500, (body, answer.text)


async def test_the_same_request_again_makes_nothing_twice(still: Hae) -> None:
    alice, headers = as_(still, "alice"), {"idempotency-key": "plugins-once"}
    made = [
        (await alice.post("/v1/agents/eliza/actions", json=SUBMIT, headers=headers)).json()["data"]["answer"]
        for _ in range(2)
    ]
    assert made[0]["job_id"] == made[1]["job_id"]
    assert [one["created"] for one in made] == [True, False]
    other = {"action": "SUBMIT_JOB", "options": {**JOB, "prompt": "Explain cats"}}
    clash = await alice.post("/v1/agents/eliza/actions", json=other, headers=headers)
    assert clash.status_code == 409
    assert clash.json()["data"]["problem"]["code"] == "idempotency_key_reused"


async def test_jobs_of_others_are_not_found(still: Hae) -> None:
    made = (await as_(still, "alice").post("/v1/agents/eliza/actions", json=SUBMIT)).json()
    asked = {"action": "JOB_STATUS", "options": {"jobId": made["values"]["jobId"]}}
    answer = await as_(still, "bob").post("/v1/agents/eliza/actions", json=asked)
    assert answer.status_code == 404
    assert answer.json()["data"]["problem"]["code"] == "job_not_found"


class Signer:
    """An agent that signs its messages with the secret of a key."""

    def __init__(self, http: httpx.AsyncClient, path: str, secret: str) -> None:
        self.http, self.path, self.secret = http, path, secret

    async def send(self, body: bytes, message_id: str = "msg_1", **changes: Any) -> httpx.Response:
        at = int(changes.pop("at", time.time()))
        headers = signing.headers([changes.pop("secret", self.secret)], message_id, at, body)
        return await self.http.post(changes.pop("path", self.path), content=body, headers={**headers, **changes})


@asynccontextmanager
async def signer(still: Hae, account: str, *scopes: Scope) -> AsyncIterator[Signer]:
    key = await still.key(account, *scopes)
    told = await still.client(key).get("/v1/agents/eliza/webhook")
    assert told.status_code == 200, told.text
    yield Signer(still.client(), told.json()["path"], told.json()["secret"])


async def test_a_signed_message_does_what_a_key_does(still: Hae) -> None:
    async with signer(still, "signing", Scope.AGENT, Scope.WEBHOOK) as agent:
        body = json.dumps(SUBMIT).encode()
        first = await agent.send(body)
        assert first.status_code == 200, first.text
        again = await agent.send(body)
        assert again.json()["values"]["jobId"] == first.json()["values"]["jobId"]
        assert again.json()["data"]["answer"]["created"] is False
        other = await agent.send(body, "msg_2")
        assert other.json()["values"]["jobId"] != first.json()["values"]["jobId"]
        wrong = await agent.send(b'{"action": "CANCEL_JOB"}', "msg_3")
        assert wrong.status_code == 422 and wrong.json()["success"] is False
    row = await still.sql.fetchrow("SELECT account FROM jobs WHERE id = $1", first.json()["values"]["jobId"])
    assert row is not None and row["account"] == "signing"


async def test_a_message_that_is_not_rightly_signed_is_refused(still: Hae) -> None:
    stranger = signing.new_secret()
    async with signer(still, "forged", Scope.AGENT, Scope.WEBHOOK) as agent:
        body = json.dumps(SUBMIT).encode()
        for refused in (
            await agent.send(body, secret=stranger),
            await agent.send(body, at=time.time() - 600),
            await agent.send(body, at=time.time() + 600),
            await agent.send(body, path="/v1/agents/eliza/webhook"),
            await agent.send(body, path="/v1/agents/eliza/webhook?key=key_01jd3k5m7p9r1t3v5x7z9b1d3f"),
            await agent.send(body, **{"webhook-id": "another"}),
            await agent.send(body, **{"webhook-signature": "v1,AAAA"}),
            await agent.http.post(agent.path, content=body),
            await agent.http.post(agent.path, content=b"x" * 100),
        ):
            told = problem_of(refused, 401, code="bad_signature")
            assert "signed" in told["detail"]
        problem_of(await agent.send(b"{nonsense"), 400, code="malformed_json")
        problem_of(await agent.send(b"[" * 100 + b"]" * 100), 400, code="json_too_deep")
        problem_of(await agent.send(b"x" * ((1 << 20) + 1)), 413)
    assert await still.sql.fetchval("SELECT count(*) FROM jobs WHERE account = 'forged'") == 0


async def test_only_keys_with_the_scope_sign_and_only_while_they_live(still: Hae) -> None:
    problem_of(await as_(still, "alice").get("/v1/agents/eliza/webhook"), 403)
    plain = await still.key("plain", Scope.AGENT)
    (row,) = await still.sql.fetch("SELECT id FROM api_keys WHERE account = 'plain'")
    forger = Signer(still.client(), f"/v1/agents/eliza/webhook?key={row['id']}", secret_of(plain))
    problem_of(await forger.send(json.dumps(SUBMIT).encode()), 401, code="bad_signature")
    async with signer(still, "ending", Scope.AGENT, Scope.WEBHOOK) as agent:
        assert (await agent.send(json.dumps(SUBMIT).encode())).status_code == 200
        (row,) = await still.sql.fetch("SELECT id FROM api_keys WHERE account = 'ending'")
        await keys.revoke(still.engine.db, row["id"])
        problem_of(await agent.send(json.dumps(SUBMIT).encode(), "msg_9"), 401, code="bad_signature")


async def test_a_key_without_the_agents_scope_signs_for_nothing(still: Hae) -> None:
    async with signer(still, "operating", Scope.OPERATOR, Scope.WEBHOOK) as agent:
        assert (await agent.send(json.dumps({"action": "QUOTE"}).encode())).status_code == 200
    key = await still.key("nothing", Scope.NODE, Scope.WEBHOOK)
    problem_of(await still.client(key).get("/v1/agents/eliza/webhook"), 403)


async def test_the_rights_of_the_key_apply_however_it_calls(still: Hae) -> None:
    rights = Rights(tools=frozenset({"submit_job", "quote"}), job_types=frozenset({"render"}), cap_day=0)
    _, key = await keys.create(still.engine.db, "narrow", ["agent", "webhook"], rights=rights)
    narrow = still.client(key)
    told = (await narrow.get("/v1/agents/eliza/webhook")).json()
    agent = Signer(still.client(), told["path"], told["secret"])
    priced = {"type": "render", "max_price_per_gpu_hour_hyper": "1"}
    for number, (order, status, code) in enumerate(
        (
            ({"action": "JOB_STATUS", "options": {"job_id": LOST}}, 403, "tool_not_allowed"),
            (SUBMIT, 403, "job_type_not_allowed"),
            ({"action": "SUBMIT_JOB", "options": priced}, 402, "budget_exceeded"),
        )
    ):
        for answer in (
            await narrow.post("/v1/agents/eliza/actions", json=order),
            await agent.send(json.dumps(order).encode(), f"narrow_{number}"),
        ):
            problem = answer.json()["data"]["problem"]
            assert (answer.status_code, problem["code"]) == (status, code), problem
    assert (await narrow.post("/v1/agents/eliza/actions", json={"action": "QUOTE"})).status_code == 200


async def test_events_come_in_the_plugins_form_and_none_is_missed(hae: Hae) -> None:
    alice, bob = [hae.client(await hae.key(account, Scope.AGENT)) for account in ("hearing", "hearing too")]
    latest = (await alice.get("/v1/events", params={"after": "latest"})).json()["latest"]
    made = (await alice.post("/v1/agents/eliza/actions", json=SUBMIT)).json()
    job_id = made["values"]["jobId"]
    async with alice.stream("GET", "/v1/agents/eliza/events", params={"after": str(latest)}) as stream:
        assert stream.status_code == 200
        (first,) = await events_in(stream.aiter_lines(), 1)
    assert first["event"] == "job_submitted"
    assert first["data"]["type"] == "HYPERNODE_JOB_SUBMITTED"
    assert first["data"]["payload"]["jobId"] == job_id
    await alice.post("/v1/agents/eliza/actions", json={"action": "CANCEL_JOB", "options": {"jobId": job_id}})
    headers = {"last-event-id": first["id"]}
    async with alice.stream("GET", "/v1/agents/eliza/events", headers=headers) as stream:
        (second,) = await events_in(stream.aiter_lines(), 1)
    assert int(second["id"]) > int(first["id"])
    assert second["data"]["payload"]["jobId"] == job_id
    async with bob.stream("GET", "/v1/agents/eliza/events", params={"after": str(latest)}) as stream:
        made = (await bob.post("/v1/agents/eliza/actions", json=SUBMIT)).json()
        (seen,) = await events_in(stream.aiter_lines(), 1)
    assert seen["data"]["payload"]["jobId"] == made["values"]["jobId"]


class Broken(Echo):
    """Falls over whatever it is asked."""

    name = "broken"

    def __init__(self, **faults: Any) -> None:
        self.faults = faults

    def _fault(self, where: str) -> Any:
        fault = self.faults.get(where)
        if isinstance(fault, BaseException):
            raise fault
        return fault() if callable(fault) else fault

    def parse(self, request: AgentRequest) -> Any:
        return self._fault("parse") or super().parse(request)

    def render(self, request: AgentRequest, outcomes: Any) -> Any:
        return self._fault("render") or super().render(request, outcomes)

    def render_error(self, request: AgentRequest, problem: Any) -> Any:
        return self._fault("render_error") or super().render_error(request, problem)

    def event(self, event: AgentEvent) -> Any:
        return self._fault("event")


CALL = {"call": "get_job", "with": {"job_id": LOST}}


@pytest.mark.parametrize(
    ("faults", "body"),
    [
        ({"parse": ValueError("a secret")}, CALL),
        ({"parse": SystemExit(1)}, CALL),
        ({"parse": 7}, CALL),
        ({"parse": [("get_job", {})]}, CALL),
        ({"parse": [ToolCall("get_job", {"job_id": object()})]}, CALL),
        ({"parse": [ToolCall("get_job", [1])]}, CALL),  # type: ignore[arg-type]
        ({"render": KeyError("a secret")}, CALL),
        ({"render": {"answer": 1}}, CALL),
        ({"render_error": ValueError("a secret")}, {}),
        ({"render_error": object()}, {}),
    ],
    ids=lambda given: str(given)[:60],
)
async def test_a_plugin_that_falls_over_is_named_and_nothing_of_it_is_shown(
    still: Hae, faults: dict[str, Any], body: Any
) -> None:
    with installed(still, Broken(**faults)) as host:
        told = problem_of(
            await as_(still, "alice").post("/v1/agents/broken/call", json=body), 502, code="plugin_failed"
        )
        assert "broken" in told["detail"]
        assert "secret" not in json.dumps(told) and "Traceback" not in json.dumps(told)
        assert host.guard.failures == 1
        good = await as_(still, "alice").post("/v1/agents/eliza/actions", json={"action": "QUOTE"})
        assert good.status_code == 200
        standing = (await as_(still, "ops").get("/internal/agents")).json()
        (broken,) = [one for one in standing["plugins"] if one["name"] == "broken"]
        assert broken["failures"] == 1 and broken["last_error"]


async def test_a_plugin_that_hangs_stalls_nobody_and_is_switched_off(still: Hae) -> None:
    released = threading.Event()
    alice = as_(still, "alice")
    try:
        with installed(still, Broken(parse=released.wait), deadline_s=0.05) as host:
            for _ in range(3):
                told = problem_of(await alice.post("/v1/agents/broken/call", json=CALL), 502, code="plugin_failed")
                assert "longer than 0.05 s" in told["detail"]
            problem_of(await alice.post("/v1/agents/broken/call", json=CALL), 503, code="plugin_switched_off")
            problem_of(await alice.get("/v1/agents/broken/events"), 503, code="plugin_switched_off")
            assert (await alice.get("/v1/agents/broken")).json()["off"] is True
            assert host.guard.stuck == 3
            assert (await alice.post("/v1/agents/eliza/actions", json={"action": "QUOTE"})).status_code == 200
    finally:
        released.set()


async def test_an_event_that_a_plugin_falls_over_is_told_of_in_its_place(hae: Hae) -> None:
    alice = hae.client(await hae.key("falling", Scope.AGENT))
    latest = (await alice.get("/v1/events", params={"after": "latest"})).json()["latest"]
    with installed(hae, Broken(event=ValueError("a secret"))):
        await alice.post("/v1/agents/eliza/actions", json=SUBMIT)
        async with alice.stream("GET", "/v1/agents/broken/events", params={"after": str(latest)}) as stream:
            (event,) = await events_in(stream.aiter_lines(), 1)
    assert event["event"] == "plugin_failed"
    assert event["data"]["code"] == "plugin_failed" and event["data"]["kind"] == "job_submitted"
    assert int(event["id"]) > latest


async def test_a_stream_whose_plugin_hangs_ends_before_what_it_hung_on(hae: Hae) -> None:
    alice, released = hae.client(await hae.key("hanging", Scope.AGENT)), threading.Event()
    latest = (await alice.get("/v1/events", params={"after": "latest"})).json()["latest"]
    try:
        with installed(hae, Broken(event=released.wait), deadline_s=0.05):
            async with alice.stream("GET", "/v1/agents/broken/events", params={"after": str(latest)}) as stream:
                await alice.post("/v1/agents/eliza/actions", json=SUBMIT)
                # Nothing follows: the stream is over.
                events = await asyncio.wait_for(events_in(stream.aiter_lines()), 30)
    finally:
        released.set()
    assert [event["event"] for event in events] == ["cut_off"]
    assert events[0]["data"]["code"] == "plugin_failed"
    assert int(events[0]["id"]) >= latest
    (missed,) = (await alice.get("/v1/events", params={"after": events[0]["id"], "limit": 1})).json()["events"]
    assert missed["kind"] == "job_submitted"


async def test_the_secret_is_what_the_documents_say(still: Hae) -> None:
    """HMAC-SHA256 of a fixed text under the key's sha256 in hex, as openssl and every language have it."""
    key = await still.key("signing", Scope.AGENT, Scope.WEBHOOK)
    told = (await still.client(key).get("/v1/agents/eliza/webhook")).json()
    digest = hashlib.sha256(key.encode()).hexdigest()
    mac = hmac.new(digest.encode(), b"hae signed calls v1", hashlib.sha256).digest()
    assert told["secret"] == "whsec_" + base64.b64encode(mac).decode()
    assert told["path"].endswith(f"?key={told['key_id']}")
