"""Sends a job to any OpenAI-compatible chat endpoint (POST {base_url}/chat/completions, not streamed).

``input.messages`` of the job is sent as it is; without it ``prompt`` becomes one user message. Sampling
options in ``input`` (temperature, max_tokens, …) go along. Result: ``{"text", "model", "finish_reason",
"message"}``; the endpoint's token counts go into the metrics.
"""

from __future__ import annotations

import os
import time
from typing import Any

import httpx
import msgspec

from app.node_worker.config import OpenAIConfig
from app.node_worker.executors.base import Job, Outcome, Progress

_OPTIONS = (
    "frequency_penalty",
    "max_completion_tokens",
    "max_tokens",
    "presence_penalty",
    "response_format",
    "seed",
    "stop",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
)
_CONNECT_S = 10.0
_SHOWN = 500


class Choice(msgspec.Struct):
    message: dict[str, Any]
    finish_reason: str | None = None


class Completion(msgspec.Struct):
    """What is read of a chat completion (platform.openai.com/docs/api-reference/chat/object)."""

    choices: list[Choice]
    model: str = ""
    usage: dict[str, Any] | None = None


class OpenAIExecutor:
    """One HTTP client for all jobs. The key is read from the environment when the executor is made."""

    def __init__(self, config: OpenAIConfig) -> None:
        self._config = config
        key = os.environ.get(config.api_key_env, "")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(headers=headers, timeout=None)
        self._url = config.base_url.rstrip("/") + "/chat/completions"

    async def run(self, job: Job, progress: Progress) -> Outcome:
        body = chat_request(job, self._config.model)
        if isinstance(body, str):
            return Outcome.failure(body)
        progress(0, f"asking {body['model']}")
        started = time.monotonic()
        try:
            response = await self._client.post(
                self._url, json=body, timeout=httpx.Timeout(job.timeout_s, connect=_CONNECT_S)
            )
        except httpx.TimeoutException:
            return Outcome.failure("the model's endpoint did not answer in time")
        except httpx.HTTPError as exc:
            return Outcome.failure(f"the model's endpoint is away: {type(exc).__name__}")
        outcome = read_answer(response.status_code, response.content)
        outcome.metrics["duration_ms"] = round((time.monotonic() - started) * 1000)
        return outcome

    async def close(self) -> None:
        await self._client.aclose()


def chat_request(job: Job, default_model: str) -> dict[str, Any] | str:
    """The request's body, or a sentence on what the job lacks."""
    model = job.input.get("model") or default_model
    if not model:
        return "the job names no model and the node has no default"
    messages = job.data.get("messages")
    if messages is None and job.input.get("prompt"):
        messages = [{"role": "user", "content": job.input["prompt"]}]
    if not isinstance(messages, list) or not messages:
        return "the job has neither a prompt nor a list of messages in its input"
    options = {name: job.data[name] for name in _OPTIONS if name in job.data}
    return {**options, "model": model, "messages": messages, "stream": False}


def read_answer(status: int, content: bytes) -> Outcome:
    """The outcome an answer tells: any status but 2xx is a failure that quotes the endpoint's message."""
    if not 200 <= status < 300:
        return Outcome.failure(f"the model's endpoint answered {status}: {_message(content)}")
    try:
        completion = msgspec.json.decode(content, type=Completion)
    except msgspec.MsgspecError as exc:
        return Outcome.failure(f"the model's endpoint sent no chat completion: {exc}")
    if not completion.choices:
        return Outcome.failure("the model's endpoint sent a completion without choices")
    choice = completion.choices[0]
    result = {
        "text": choice.message.get("content"),
        "model": completion.model,
        "finish_reason": choice.finish_reason,
        "message": choice.message,
    }
    usage = completion.usage or {}
    return Outcome(result=result, metrics={name: n for name, n in usage.items() if isinstance(n, int)})


def _message(content: bytes) -> str:
    try:
        body = msgspec.json.decode(content)
    except msgspec.MsgspecError:
        return content[:_SHOWN].decode(errors="replace")
    error = body.get("error", body) if isinstance(body, dict) else body
    text = error.get("message", error) if isinstance(error, dict) else error
    return str(text)[:_SHOWN]
