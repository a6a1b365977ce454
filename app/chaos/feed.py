"""Readers of the event feed: each follows it by position while it grows, and records what it got."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from app.chaos.calls import Recorder

WAIT_S = 3
_LIMIT = 200


class FeedReader:
    """One reader. ``after``: the last position that it has read. ``account``: whose events it may see, None = all."""

    def __init__(self, recorder: Recorder, account: str | None = None) -> None:
        self.after = 0
        self.account = account
        self.name = recorder.actor
        self._calls = recorder
        recorder.history.readers[self.name] = None if account is None else frozenset({account})

    async def run(self) -> None:
        """Read until cancelled. Raises RuntimeError when the engine refuses."""
        while True:
            path = f"/v1/events?after={self.after}&limit={_LIMIT}&wait_s={WAIT_S}"
            reply = await self._calls.caller.call("GET", path, timeout_s=WAIT_S + 4.0)
            if reply.outcome == "unknown" or reply.status == HTTPStatus.TOO_MANY_REQUESTS:
                await asyncio.sleep(0.3)
                continue
            if reply.outcome == "fail":
                raise RuntimeError(f"{self._calls.actor}: the feed answers {reply.status} {reply.code}")
            for event in reply.body["events"]:
                op = self._calls.op(
                    kind="feed",
                    position=int(event["position"]),
                    key=event["id"],
                    event=event["kind"],
                    job_id=event.get("job_id") or "",
                )
                self._calls.add(op, reply)
                self.after = max(self.after, op.position)
