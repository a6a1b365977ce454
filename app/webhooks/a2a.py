"""The body of A2A push notifications: a StreamResponse with one status update (A2A 1.0, sections 3.2.3 and 4.3.3)."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any, Final

from app.core.a2a import TASK_STATE, context_of
from app.core.deliveries import Event
from app.webhooks import payloads
from app.webhooks.summary import PRIVATE
from app.webhooks.text import clip

TOKEN_HEADER: Final = "X-A2A-Notification-Token"
_MESSAGE = 2_000
_TOLD_ELSEWHERE = PRIVATE | {"error", "job_id", "plan_id", "state"}


def build(event: Event, context_id: str = "") -> bytes:
    """Compact UTF-8 JSON below 20 kB. ``context_id``: the task's, empty for the one that its id stands for.

    A task of a job or plan is named by its id. Results are not in it: the client fetches the task for them.
    """
    data = event.data
    task_id = str(data.get("job_id") or data.get("plan_id") or "")
    status: dict[str, Any] = {
        "state": TASK_STATE.get(str(data.get("state")), "TASK_STATE_UNSPECIFIED"),
        "timestamp": event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    context_id = context_id or context_of(task_id)
    error = data.get("error")
    if isinstance(error, str) and error:
        status["message"] = {
            "messageId": event.id,
            "contextId": context_id,
            "taskId": task_id,
            "role": "ROLE_AGENT",
            "parts": [{"text": clip(error, _MESSAGE)}],
        }
    told: dict[str, Any] = json.loads(payloads.build(event))
    metadata = {name: value for name, value in told.items() if name not in _TOLD_ELSEWHERE and value is not None}
    update = {"taskId": task_id, "contextId": context_id, "status": status, "metadata": metadata}
    return json.dumps({"statusUpdate": update}, ensure_ascii=False, separators=(",", ":")).encode()
