"""Three receivers on loopback that stand for Discord, Slack and a custom hook, and count what reaches them."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

from app.demo.loopback import Loopback
from app.webhooks import signing

DISCORD, SLACK, CUSTOM = "discord", "slack", "custom"
SUBSCRIBED: dict[str, list[str]] = {
    # Slack takes one message a second and Discord about as many, so chats get what is rare.
    SLACK: ["node_offline"],
    DISCORD: ["job_failed", "job_expired", "payment_disputed"],
    CUSTOM: ["job_completed", "job_failed", "job_expired", "job_cancelled", "node_offline"],
}
"""Which kinds of events each receiver is sent."""
_COMPLETED = "job_completed"
_ENDS = (_COMPLETED, "job_failed", "job_expired", "job_cancelled")
_LARGEST_BODY = 1 << 20


@dataclass(frozen=True, slots=True)
class Ended:
    """What a message tells of a job's end. ``node_id``: of the node that had it, if one did."""

    job_id: str
    node_id: str
    completed: bool


class Receivers(Loopback):
    """An async context manager. ``delivered``: good messages by receiver; ``refused``: those that were not.

    A custom message is good when its Standard Webhooks signature is, and counts once however often it is sent (it is
    known by webhook-id); a chat's is good when it is what that chat takes. ``ends``: what custom messages told.
    """

    def __init__(self) -> None:
        super().__init__()
        self.secret = signing.new_secret()
        self.delivered = dict.fromkeys(SUBSCRIBED, 0)
        self.refused = 0
        self.ends: asyncio.Queue[Ended] = asyncio.Queue()
        self._seen: set[str] = set()

    @property
    def total(self) -> int:
        return sum(self.delivered.values())

    def settings(self) -> dict[str, object]:
        """The section ``webhooks`` of a configuration that sends to these receivers."""
        endpoints = [
            {"name": name, "kind": name, "url": f"http://127.0.0.1:{self.port}/{name}", "events": kinds}
            | ({"secret": self.secret} if name == CUSTOM else {})
            for name, kinds in SUBSCRIBED.items()
        ]
        return {"endpoints": endpoints, "allow_networks": ["127.0.0.0/8"]}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", "0"))
            if length > _LARGEST_BODY:
                return
            status = self._take(request.split(" ")[1].strip("/"), headers, await reader.readexactly(length))
            answer = f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"
            writer.write(answer.encode())
            await writer.drain()

    def _take(self, name: str, headers: dict[str, str], body: bytes) -> str:
        if name == CUSTOM:
            if not signing.verify(self.secret, headers, body, time.time()):
                self.refused += 1
                return "401 Unauthorized"
            message_id = headers["webhook-id"]
            if message_id in self._seen:
                return "200 OK"
            self._seen.add(message_id)
            told = json.loads(body)
            if told["event"] in _ENDS:
                self.ends.put_nowait(Ended(told["job_id"], told.get("node_id") or "", told["event"] == _COMPLETED))
        elif not _is_message(name, body):
            self.refused += 1
            return "400 Bad Request"
        self.delivered[name] += 1
        return "204 No Content" if name == DISCORD else "200 OK"


def _is_message(name: str, body: bytes) -> bool:
    try:
        message = json.loads(body)
    except ValueError:
        return False
    wanted = {DISCORD: ("embeds", "content"), SLACK: ("blocks", "text")}.get(name, ())
    return isinstance(message, dict) and any(message.get(key) for key in wanted)
