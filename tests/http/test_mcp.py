"""MCP over HTTP, driven by the SDK's own client: both current revisions, the older transport, the key in the URL."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import mcp_types as types
import msgspec
import pytest
from mcp.shared.exceptions import MCPError

from app.core.access import Rights, Scope
from app.services import keys
from tests.http.conftest import as_
from tests.support.live_engine import Hae, Node
from tests.support.mcp_clients import HANDSHAKE, MODERN, TRANSPORTS, Progress, connected
from tools.faces import as_mcp
from tools.registry import TOOLS

pytestmark = pytest.mark.asyncio(loop_scope="module")

each_way = pytest.mark.parametrize("how", TRANSPORTS)


def told(result: Any, *, failed: bool = False) -> dict[str, Any]:
    """What a result says: one JSON object, as the only text and as structured content."""
    assert isinstance(result, types.CallToolResult)
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    said: dict[str, Any] = json.loads(block.text)
    assert said == result.structured_content
    assert result.is_error is failed, said
    return said


@each_way
async def test_says_what_it_is(hae: Hae, how: str) -> None:
    async with connected(hae.url, hae.secrets["alice"], how) as client:
        assert client.protocol_version == (MODERN if how.startswith("modern") else HANDSHAKE)
        assert client.server_info is not None and client.server_info.name == "hypernode"
        assert client.instructions is not None and "wait_job" in client.instructions
        capabilities = client.server_capabilities
        assert capabilities.tools and capabilities.resources and capabilities.prompts and capabilities.completions


@each_way
async def test_lists_every_tool_as_the_registry_has_it(hae: Hae, how: str) -> None:
    async with connected(hae.url, hae.secrets["alice"], how) as client:
        listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == list(TOOLS)
    for tool in listed:
        shown = msgspec.to_builtins(as_mcp(TOOLS[tool.name]))
        assert tool.description == shown["description"] and tool.title == shown["title"]
        assert tool.input_schema == shown["inputSchema"]
        # Clients hold errors against it, too.
        assert tool.output_schema is not None and tool.output_schema["anyOf"][0] == shown["outputSchema"]
        assert tool.annotations is not None
        assert tool.annotations.model_dump(by_alias=True) == shown["annotations"]


@each_way
async def test_a_job_from_its_submission_to_its_result(hae: Hae, how: str) -> None:
    node = await node_of(hae, how)
    progress = Progress()
    async with connected(hae.url, hae.secrets["alice"], how) as client:
        wanted = {"type": "llm_inference", "prompt": "hi", "gpu_models": [node_model(how)]}
        made = told(await client.call_tool("submit_job", wanted))
        told(await client.call_tool("get_job", {"job_id": made["job_id"]}))
        waiting = asyncio.create_task(
            client.call_tool("wait_job", {"job_id": made["job_id"], "wait_s": 45}, progress_callback=progress)
        )
        await node.run_next({"text": f"hello over {how}"})
        job = told(await waiting)
        assert (job["state"], job["final"], job["result"]) == ("completed", True, {"text": f"hello over {how}"})

        (content,) = (await client.read_resource(f"job://{job['job_id']}")).contents
        assert isinstance(content, types.TextResourceContents)
        assert json.loads(content.text)["result"] == job["result"]
        await until(lambda: any("completed" in message for _, message in progress.seen))
    numbers = [number for number, _ in progress.seen]
    assert numbers == sorted(set(numbers))


async def node_of(hae: Hae, how: str) -> Node:
    wallet = how.replace(", ", "-").replace(" ", "-")
    return await Node.register(as_(hae, "miner"), wallet, gpu_model=node_model(how), capabilities=["inference"])


def node_model(how: str) -> str:
    return f"MCP {how}"


async def until(holds: Any) -> None:
    """The client hands on notifications in tasks of its own."""
    async with asyncio.timeout(10):
        turn = asyncio.get_running_loop()
        while not holds():
            # One turn of the loop.
            turned = turn.create_future()
            turn.call_soon(turned.set_result, None)
            await turned


@each_way
async def test_resources_prompts_and_completions(hae: Hae, how: str) -> None:
    async with connected(hae.url, hae.secrets["alice"], how) as client:
        (metrics,) = (await client.list_resources()).resources
        (content,) = (await client.read_resource(metrics.uri)).contents
        assert isinstance(content, types.TextResourceContents) and "nodes_total" in json.loads(content.text)
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "job://{id}"

        for uri in ("job://job_none", "job://", "file:///etc/passwd"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            assert caught.value.error.data["next_action"], uri

        prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
        assert set(prompts) == {"run_inference", "plan_batch", "why_not_matched"}
        for name, prompt in prompts.items():
            given = {argument.name: f"<{argument.name} {{x}}>" for argument in prompt.arguments or []}
            (message,) = (await client.get_prompt(name, given)).messages
            assert isinstance(message.content, types.TextContent)
            assert all(value in message.content.text for value in given.values())
            assert [tool for tool in TOOLS if tool in message.content.text]
        with pytest.raises(MCPError, match="needs the argument prompt"):
            await client.get_prompt("run_inference", {"model": "qwen-7b"})
        with pytest.raises(MCPError, match="there is no prompt"):
            await client.get_prompt("nothing", {})

        made = told(await client.call_tool("submit_job", {"type": "render", "delay_s": 3600}))
        reference = types.ResourceTemplateReference(uri=template.uri_template)
        found = await client.complete(reference, {"name": "id", "value": made["job_id"][:-2]})
        assert made["job_id"] in found.completion.values


WRONG: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("no_such_tool", {}, "tool_not_found", "", "submit_job"),
    ("submit_job", {}, "invalid_input", "type", "llm_inference"),
    ("submit_job", {"type": "poetry"}, "invalid_input", "type", "llm_inference"),
    ("submit_job", {"type": "render", "gpus": "two"}, "invalid_input", "gpus", "llm_inference"),
    ("submit_job", {"type": "render", "gpu_modles": ["A100"]}, "invalid_input", "gpu_modles", "llm_inference"),
    ("submit_job", {"type": "render", "prompt": "\0"}, "invalid_input", "prompt", ""),
    ("submit_job", {"type": "render", "input": {"n": 1 << 70}}, "invalid_input", "input.n", ""),
    ("cancel_job", {}, "invalid_input", "job_id", "job_"),
    ("cancel_job", {"job_id": ""}, "invalid_input", "job_id", "job_"),
    ("cancel_job", {"job_id": "job_01jd3k5m7p9r1t3v5x7z9b1d3f"}, "job_not_found", "job_id", "list_jobs"),
    ("cancel_jobs", {}, "invalid_input", "filter", "A valid filter: {"),
    ("wait_job", {"job_id": "job_none", "wait_s": 60}, "invalid_input", "wait_s", "job_"),
]


@pytest.mark.parametrize("how", ["modern", "handshake"])
async def test_what_is_wrong_with_a_call_is_its_result(still: Hae, how: str) -> None:
    before = await still.contents()
    async with connected(still.url, still.secrets["alice"], how) as client:
        for name, arguments, code, field, shown in WRONG:
            problem = told(await client.call_tool(name, arguments), failed=True)
            assert (problem["code"], problem.get("field", "")) == (code, field), problem
            assert shown in problem["next_action"] and problem["detail"], problem
            assert problem["retryable"] is False
    assert await still.contents() == before


async def test_leftovers_of_other_tools_are_passed_over(still: Hae) -> None:
    async with connected(still.url, still.secrets["alice"], "handshake") as client:
        made = told(await client.call_tool("submit_job", {"type": "render", "wait_s": 30, "duration_s": 600}))
        told(await client.call_tool("get_job", {"job_id": made["job_id"], "type": "render", "prompt": "left"}))
        # Without an id of its own, nothing is cancelled, whatever else is left over.
        problem = told(await client.call_tool("cancel_job", {"type": "render", "prompt": "left"}), failed=True)
        assert problem["field"] == "job_id"


async def test_a_key_sees_and_calls_only_the_tools_that_it_may(still: Hae) -> None:
    rights = Rights(tools=frozenset({"get_job", "network_metrics"}))
    _, secret = await keys.create(still.engine.db, "narrow", [Scope.AGENT.value], rights=rights)
    async with connected(still.url, secret, "modern") as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["get_job", "network_metrics"]
        told(await client.call_tool("network_metrics", {}))
        problem = told(await client.call_tool("submit_job", {"type": "render"}), failed=True)
        assert problem["code"] == "tool_not_allowed"


@pytest.mark.parametrize("how", ["modern", "handshake", "sse"])
async def test_accounts_are_kept_apart(still: Hae, how: str) -> None:
    async with (
        connected(still.url, still.secrets["alice"], how) as alice,
        connected(still.url, still.secrets["bob"], how) as bob,
    ):
        made = told(await alice.call_tool("submit_job", {"type": "render"}))
        for name in ("get_job", "cancel_job", "wait_job"):
            assert told(await bob.call_tool(name, made_id(made)), failed=True)["code"] == "job_not_found"
        assert not told(await alice.call_tool("get_job", made_id(made)))["cancel_requested"]


def made_id(made: dict[str, Any]) -> dict[str, Any]:
    return {"job_id": made["job_id"]}


@each_way
async def test_a_wait_that_its_client_gives_up_leaves_nothing(still: Hae, how: str) -> None:
    engine = still.engine
    async with connected(still.url, still.secrets["alice"], how) as client:
        job = made_id(told(await client.call_tool("submit_job", {"type": "render"})))

        waiting = asyncio.create_task(client.call_tool("wait_job", {**job, "wait_s": 45}, progress_callback=Progress()))
        await until(lambda: {job["job_id"]} <= {*engine.job_desk.keys()} & {*engine.event_desk.keys()})
        waiting.cancel()
        await asyncio.wait({waiting})
    await until(lambda: not engine.job_desk.keys() and not engine.event_desk.keys())


async def test_the_example_of_the_docs_runs(still: Hae) -> None:
    text = (Path(__file__).parents[2] / "docs" / "mcp.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(StringIO()) as printed:
        patched.setenv("HYPERNODE_API_URL", still.url)
        patched.setenv("HYPERNODE_API_KEY", still.secrets["alice"])
        patched.setenv("NO_PROXY", "127.0.0.1")
        await asyncio.to_thread(exec, compile(block, "docs/mcp.md", "exec"), {})
    made = ast.literal_eval(printed.getvalue())
    job = (await as_(still, "alice").get(f"/v1/jobs/{made['job_id']}")).json()
    assert (job["job_id"], job["type"], made["created"]) == (made["job_id"], "llm_inference", True)


async def test_calls_of_one_client_at_once(still: Hae) -> None:
    async with connected(still.url, still.secrets["alice"], "modern") as client:
        made = await asyncio.gather(
            *(client.call_tool("submit_job", {"type": "render", "idempotency_key": f"mcp {n % 10}"}) for n in range(40))
        )
    assert len({told(one)["job_id"] for one in made}) == 10
