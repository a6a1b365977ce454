"""Eliza's actions: their names, their options, what their results say."""

from __future__ import annotations

from typing import Any

import pytest

from agent_plugins.eliza.actions import ACTIONS, action_named, snake_cased
from agent_plugins.eliza.plugin import ElizaPlugin
from agent_plugins.protocol import AgentEvent, AgentRequest, Outcome, ToolCall
from app.core.errors import InvalidInput

JOB = "job_01jd3k5m7p9r1t3v5x7z9b1d3f"
PLUGIN = ElizaPlugin()


def test_actions_are_known_by_the_names_that_the_documents_use() -> None:
    assert list(ACTIONS) == ["SUBMIT_JOB", "CHECK_AVAILABILITY", "QUOTE", "JOB_STATUS", "WAIT_FOR_JOB", "CANCEL_JOB"]
    for name in ("SUBMIT_JOB", "submitJob", "submit_job", "SubmitJob"):
        assert action_named(name) is ACTIONS["SUBMIT_JOB"]
    for wrong in ("", "SUBMIT", None, 7, "x" * 100):
        with pytest.raises(InvalidInput, match="actions are SUBMIT_JOB, CHECK_AVAILABILITY"):
            action_named(wrong)


def test_options_are_taken_as_javascript_writes_them() -> None:
    given = {"jobId": 1, "waitS": 2, "maxPricePerGpuHourHyper": 3, "gpu_models": 4, "minVramGb": 5, "not a name": 6}
    assert list(snake_cased(given)) == [
        "job_id", "wait_s", "max_price_per_gpu_hour_hyper", "gpu_models", "min_vram_gb", "not a name",
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="job_id is given twice"):
        snake_cased({"job_id": 1, "jobId": 2})


TEXTS: list[tuple[str, dict[str, Any], str]] = [
    ("SUBMIT_JOB", {"job_id": JOB, "state": "pending", "created": True}, f"Job {JOB} is submitted and pending."),
    (
        "SUBMIT_JOB",
        {"job_id": JOB, "state": "running", "created": False},
        f"Job {JOB} was submitted before and is running",
    ),
    (
        "CHECK_AVAILABILITY",
        {
            "matching": 3,
            "available_now": 2,
            "free_slots": 5,
            "nodes_online": 9,
            "cheapest_price_per_gpu_hour_hyper": "0.1",
        },
        "2 of 3 nodes that suit are free now, with 5 GPUs, from 0.1 HYPER per GPU-hour.",
    ),
    ("CHECK_AVAILABILITY", {"matching": 0, "nodes_online": 9}, "None of the 9 nodes online suits."),
    (
        "QUOTE",
        {"cost_hyper": "0.5", "duration_s": 60, "available_now": True},
        "60 s would cost about 0.5 HYPER. A node is",
    ),
    ("QUOTE", {"cost_hyper": "0.5", "duration_s": 60, "available_now": False}, "All nodes that suit are busy now."),
    ("QUOTE", {"cost_hyper": ""}, "No node suits, so there is no price."),
    ("JOB_STATUS", {"job_id": JOB, "state": "running", "final": False}, f"Job {JOB} is running, and not over yet."),
    ("JOB_STATUS", {"job_id": JOB, "state": "cancelled", "final": True}, f"Job {JOB} is cancelled."),
    (
        "JOB_STATUS",
        {"job_id": JOB, "state": "failed", "final": True, "error": "no disk"},
        f"Job {JOB} is failed: no disk",
    ),
    (
        "WAIT_FOR_JOB",
        {"job_id": JOB, "state": "completed", "final": True, "result": {"text": "qubits"}, "cost_hyper": "0.2"},
        f'Job {JOB} is completed for 0.2 HYPER. Result: {{"text":"qubits"}}',
    ),
]


@pytest.mark.parametrize(("name", "answer", "text"), TEXTS, ids=[f"{one[0]}-{n}" for n, one in enumerate(TEXTS)])
def test_results_say_what_happened(name: str, answer: dict[str, Any], text: str) -> None:
    action = ACTIONS[name]
    call = ToolCall(action.tool, note=name)
    body = PLUGIN.render(AgentRequest("actions"), [Outcome(call, answer=answer)]).body
    assert text in body["text"]
    assert body.keys() == {"success", "text", "values", "data", "error"}
    assert body["data"]["answer"] == answer


def test_a_long_result_is_cut_in_the_text_and_whole_in_the_data() -> None:
    answer = {"job_id": JOB, "state": "completed", "final": True, "result": "x" * 50_000}
    call = ToolCall("get_job", note="JOB_STATUS")
    body = PLUGIN.render(AgentRequest("actions"), [Outcome(call, answer=answer)]).body
    assert len(body["text"]) < 3_000 and body["text"].endswith("…")
    assert body["data"]["answer"]["result"] == "x" * 50_000


def test_cancelling_takes_its_id_from_the_options_alone() -> None:
    body = {"action": "CANCEL_JOB", "state": {"values": {"jobId": JOB}}, "message": {"content": {"text": JOB}}}
    (call,) = PLUGIN.parse(AgentRequest("actions", body))
    assert call.tool == "cancel_job" and call.arguments == {}


def test_a_path_and_a_body_that_disagree_are_refused() -> None:
    (call,) = PLUGIN.parse(AgentRequest("actions/QUOTE", {"options": {"durationS": 5}}))
    assert (call.tool, call.arguments) == ("quote", {"duration_s": 5})
    with pytest.raises(InvalidInput, match="the path says QUOTE"):
        PLUGIN.parse(AgentRequest("actions/QUOTE", {"action": "CANCEL_JOB"}))


def test_events_are_those_of_jobs_plans_and_payments() -> None:
    event = AgentEvent(7, "evt_1", "job_completed", "2026-11-26T12:00:00Z", JOB, "node_1", {"cost_hyper": "0.2"})
    seen = PLUGIN.event(event)
    assert seen is not None
    assert (seen["type"], seen["text"]) == ("HYPERNODE_JOB_COMPLETED", f"Job completed of {JOB}.")
    assert seen["payload"]["jobId"] == JOB and seen["payload"]["cost_hyper"] == "0.2"
    assert PLUGIN.event(AgentEvent(8, "evt_2", "node_offline", "", "", "node_1", {})) is None
