"""The executor `openai` against an OpenAI-compatible endpoint over real HTTP."""

from __future__ import annotations

import pytest

from app.node_worker import OpenAIConfig
from tests.integration.node_worker.conftest import Nodes
from tests.support.chat_server import ChatServer
from tests.support.http_server import CUT, Reply
from tests.support.node_api import NodeApi


async def chatting(nodes: Nodes, chat: ChatServer, monkeypatch: pytest.MonkeyPatch, key: str = "model-key") -> str:
    monkeypatch.setenv("NODE_TEST_KEY", key)
    endpoint = OpenAIConfig(base_url=chat.server.url + "/v1", model="small", api_key_env="NODE_TEST_KEY")
    return await nodes.online(executor="openai", openai=endpoint)


async def test_a_prompt_is_answered_with_text_and_usage(
    api: NodeApi, nodes: Nodes, chat: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    node_id = await chatting(nodes, chat, monkeypatch)
    offer = api.offers[api.offer(node_id, input={"prompt": "one two three", "input": {"max_tokens": 5}})]
    await api.until(lambda: offer.state == "done")
    assert offer.report is not None
    action, report = offer.report
    assert action == "result"
    assert report["result"] == {
        "text": "three two one",
        "model": "small",
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "three two one"},
    }
    assert report["metrics"]["total_tokens"] == 6
    assert report["metrics"]["duration_ms"] >= 0
    assert chat.requests[0].body["max_tokens"] == 5


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (
            Reply(500, {"error": {"message": "out of memory"}}),
            "the model's endpoint answered 500: out of memory",
        ),
        (Reply(302, {}, {"location": "/elsewhere"}), "the model's endpoint answered 302: {}"),
        (CUT, "the model's endpoint is away: RemoteProtocolError"),
    ],
)
async def test_errors_of_the_endpoint_are_failures(
    api: NodeApi, nodes: Nodes, chat: ChatServer, monkeypatch: pytest.MonkeyPatch, reply: Reply, error: str
) -> None:
    node_id = await chatting(nodes, chat, monkeypatch)
    chat.replies.append(reply)
    offer = api.offers[api.offer(node_id)]
    await api.until(lambda: offer.state == "done")
    assert offer.report is not None
    assert (offer.report[0], offer.report[1]["error"]) == ("failure", error)


async def test_a_wrong_key_is_a_failure_that_does_not_tell_the_key(
    api: NodeApi, nodes: Nodes, chat: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    node_id = await chatting(nodes, chat, monkeypatch, key="other-key")
    offer = api.offers[api.offer(node_id)]
    await api.until(lambda: offer.state == "done")
    assert offer.report is not None
    assert offer.report[1]["error"] == "the model's endpoint answered 401: Incorrect API key provided"
