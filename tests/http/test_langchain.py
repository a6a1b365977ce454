"""The tools in an agent that somebody builds with LangGraph: a real graph, a model that always says the same."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode

from app.core.errors import InvalidInput, NotFound
from tests.http.conftest import as_
from tests.support.live_engine import Hae, Node
from tools import as_langchain
from tools.registry import TOOLS

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Talk(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def agent(tools: Any, script: Any) -> Any:
    """A graph of a model and its tools; ``script`` makes the model's next call from what the tools have said."""

    def model(state: Talk) -> dict[str, Any]:
        said = [json.loads(str(one.content)) for one in state["messages"] if isinstance(one, ToolMessage)]
        call = script(said)
        if call is None:
            return {"messages": [AIMessage("done")]}
        name, arguments = call
        return {"messages": [AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call_{len(said)}"}])]}

    def after(state: Talk) -> str:
        last = state["messages"][-1]
        return "tools" if isinstance(last, AIMessage) and last.tool_calls else END

    graph: Any = StateGraph(Talk)
    graph.add_node("model", model)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", after, ["tools", END])
    graph.add_edge("tools", "model")
    return graph.compile()


def answers(talk: Talk) -> list[Any]:
    return [json.loads(str(one.content)) for one in talk["messages"] if isinstance(one, ToolMessage)]


async def test_an_agent_submits_a_job_and_waits_for_its_result(hae: Hae) -> None:
    node = await Node.register(as_(hae, "miner"), "langchain", gpu_model="chained", capabilities=["inference"])

    def script(said: list[Any]) -> Any:
        if not said:
            return "submit_job", {"type": "llm_inference", "prompt": "why", "gpu_models": ["chained"]}
        if "final" not in said[-1] or not said[-1]["final"]:
            return "wait_job", {"job_id": said[0]["job_id"], "wait_s": 30}
        return None

    tools = as_langchain(hae.url + "/", hae.secrets["alice"])
    talk, _ = await asyncio.gather(agent(tools, script).ainvoke({"messages": []}), node.run_next({"text": "because"}))
    assert answers(talk)[-1]["result"] == {"text": "because"}
    assert talk["messages"][-1].content == "done"


async def test_what_goes_wrong_is_said_to_the_model(hae: Hae) -> None:
    calls: list[Any] = [
        ("get_job", {"job_id": "job_nobodys"}),
        ("get_job", {}),
        ("quote", {"gpus": "many", "config": 1}),
        ("network_metrics", {}),
    ]
    tools = as_langchain(hae.url, hae.secrets["alice"])
    graph = agent(tools, lambda said: calls[len(said)] if len(said) < len(calls) else None)
    # Another thread, as somebody's synchronous agent would have it.
    unknown, missing, wrong, fine = answers(await asyncio.to_thread(graph.invoke, {"messages": []}))
    assert unknown["error"]["code"] == "job_not_found" and unknown["error"]["next_action"]
    assert missing["error"]["field"] == "job_id" and "A valid call: " in missing["error"]["next_action"]
    assert wrong["error"]["code"] == "invalid_input"
    assert fine["nodes_total"] >= 0


async def test_a_server_that_is_away_and_a_key_that_is_none_are_said_too(hae: Hae) -> None:
    (away,) = as_langchain("http://127.0.0.1:1", "hae_x", names=["network_metrics"])
    for told in (json.loads(await away.ainvoke({})), json.loads(await asyncio.to_thread(away.invoke, {}))):
        assert told["error"]["code"] == "server_unreachable" and told["error"]["retryable"]
    (refused, odd) = as_langchain(hae.url, "hae_unknown", names=["network_metrics", "submit_job"])
    assert json.loads(await refused.ainvoke({}))["error"]["code"] == "unauthorised"
    assert json.loads(await odd.ainvoke({"type": object()}))["error"]["code"] == "bad_arguments"


async def test_the_tools_are_those_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERNODE_API_URL", "http://127.0.0.1:3002")
    monkeypatch.setenv("HYPERNODE_API_KEY", "hae_x")
    tools = as_langchain()
    assert [tool.name for tool in tools] == list(TOOLS)
    for tool in tools:
        function = convert_to_openai_tool(tool)["function"]
        assert function["name"] == tool.name and function["description"] == TOOLS[tool.name].description
        given, schema = function["parameters"], TOOLS[tool.name].input_schema
        assert list(given["properties"]) == list(schema["properties"]) and given["required"] == schema["required"]
    with pytest.raises(NotFound, match="fly"):
        as_langchain(names=["fly"])
    monkeypatch.delenv("HYPERNODE_API_KEY")
    for url, field in (("http://127.0.0.1:3002", "api_key"), ("127.0.0.1:3002", "url")):
        with pytest.raises(InvalidInput) as missing:
            as_langchain(url)
        assert missing.value.field == field


async def test_the_examples_of_the_documents_run(hae: Hae) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"url": hae.url, "key": hae.secrets["alice"]}

    def run() -> None:
        for block in blocks:
            exec(compile(block, "docs/tools.md", "exec"), names)

    await asyncio.to_thread(run)
    assert json.loads(names["answer"])["duration_s"] == 600
    assert [tool.name for tool in names["tools"]] == ["quote", "submit_job", "wait_job", "cancel_job"]


async def test_the_documents_know_every_tool() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")
    rows = page.split("| tool |")[1].split("\n\n")[0].splitlines()[2:]
    told = [name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])]
    assert sorted(told) == sorted(TOOLS)
