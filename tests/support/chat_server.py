"""An OpenAI-compatible chat endpoint over real HTTP, deterministic."""

from __future__ import annotations

from collections import deque

from tests.support.http_server import HttpServer, Reply, Request


class ChatServer:
    """An OpenAI-compatible chat endpoint that answers a prompt with its words reversed."""

    def __init__(self, *, key: str = "") -> None:
        self.key = key
        self.requests: list[Request] = []
        self.replies: deque[Reply] = deque()
        self.server = HttpServer(self._handle)

    async def _handle(self, request: Request) -> Reply:
        self.requests.append(request)
        if self.replies:
            return self.replies.popleft()
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return Reply(401, {"error": {"message": "Incorrect API key provided", "type": "invalid_request_error"}})
        if request.path != "/v1/chat/completions":
            return Reply(404, {"error": {"message": f"no route {request.path}"}})
        words = request.body["messages"][-1]["content"].split()
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": " ".join(reversed(words))},
            "finish_reason": "stop",
        }
        usage = {"prompt_tokens": len(words), "completion_tokens": len(words), "total_tokens": 2 * len(words)}
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": request.body["model"],
        }
        return Reply(200, {**answer, "choices": [choice], "usage": usage})
