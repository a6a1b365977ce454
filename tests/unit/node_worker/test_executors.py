"""What executors make of jobs, as far as no network is needed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from app.node_worker.executors.base import Job
from app.node_worker.executors.echo import EchoExecutor
from app.node_worker.executors.openai import chat_request, read_answer
from app.node_worker.executors.simulate import SimulateExecutor


def job(**given: Any) -> Job:
    return Job("offer_1", "job_1", "llm_inference", given, gpus=1, timeout_s=60)


def ignore(percent: int, message: str) -> None:
    """Progress that nobody reads."""


async def test_echo_returns_its_input() -> None:
    outcome = await EchoExecutor().run(job(prompt="hi", input={"a": [1]}), ignore)
    assert (outcome.error, outcome.result) == (None, {"prompt": "hi", "input": {"a": [1]}})


async def test_simulate_takes_the_time_told_and_says_how_far_it_is() -> None:
    told: list[int] = []
    executor = SimulateExecutor(speed=10_000)
    outcome = await executor.run(job(input={"simulate": {"duration_s": 600}}), lambda percent, _: told.append(percent))
    assert outcome.result == {"simulated": True, "duration_s": 600}
    assert told[-1] == 100


async def test_simulate_fails_when_told_to() -> None:
    given = {"simulate": {"duration_s": 0, "fail": "out of memory"}}
    assert (await SimulateExecutor().run(job(input=given), ignore)).error == "out of memory"


@pytest.mark.parametrize("duration", ["long", -1, True, None, float("nan"), float("inf")])
async def test_simulate_refuses_a_duration_that_is_none(duration: object) -> None:
    outcome = await SimulateExecutor().run(job(input={"simulate": {"duration_s": duration}}), ignore)
    assert outcome.error is not None
    assert outcome.error.startswith("simulate.duration_s must be")


async def test_simulate_hangs_until_it_is_cancelled() -> None:
    hanging = asyncio.create_task(SimulateExecutor().run(job(input={"simulate": {"hang": True}}), ignore))
    await asyncio.sleep(0)
    assert not hanging.done()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging


def test_a_prompt_becomes_a_message_and_options_go_along() -> None:
    body = chat_request(job(prompt="hi", input={"temperature": 0.1, "stream": True, "n": 5}), "small")
    assert body == {
        "model": "small",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.1,
        "stream": False,
    }


def test_messages_win_over_a_prompt_and_the_jobs_model_over_the_default() -> None:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    body = chat_request(job(model="big", prompt="unused", input={"messages": messages}), "small")
    assert body == {"model": "big", "messages": messages, "stream": False}


@pytest.mark.parametrize(
    ("given", "model", "lack"),
    [
        ({"prompt": "hi"}, "", "names no model"),
        ({"model": "m"}, "", "neither a prompt nor"),
        ({"model": "m", "input": {"messages": []}}, "", "neither a prompt nor"),
        ({"model": "m", "prompt": "hi", "input": {"messages": "hi"}}, "", "neither a prompt nor"),
    ],
)
def test_a_job_that_lacks_something_is_told_what(given: dict[str, Any], model: str, lack: str) -> None:
    answer = chat_request(job(**given), model)
    assert isinstance(answer, str)
    assert lack in answer


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (400, b'{"error": {"message": "bad model"}}', "the model's endpoint answered 400: bad model"),
        (500, b"<html>oops", "the model's endpoint answered 500: <html>oops"),
        (429, b'["slow"]', "the model's endpoint answered 429: ['slow']"),
        (200, b'{"choices": []}', "the model's endpoint sent a completion without choices"),
    ],
)
def test_answers_that_hold_no_text_are_failures(status: int, content: bytes, error: str) -> None:
    assert read_answer(status, content).error == error


def test_an_unreadable_completion_is_a_failure() -> None:
    error = read_answer(200, b"hello").error
    assert error is not None
    assert error.startswith("the model's endpoint sent no chat completion")


def test_usage_becomes_metrics() -> None:
    choice = {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    usage = {"total_tokens": 3, "prompt_tokens_details": {"cached": 1}}
    outcome = read_answer(200, json.dumps({"choices": [choice], "model": "m", "usage": usage}).encode())
    assert outcome.metrics == {"total_tokens": 3}
    assert outcome.result["text"] == "yes"
