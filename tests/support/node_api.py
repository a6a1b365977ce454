"""A server of the node API's contract, over HTTP on loopback.

It keeps offers in memory and answers as the contract says, so that the worker is tested by itself; end-to-end
tests run it against the engine.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.support.http_server import HttpServer, Reply, Request


def problem(status: int, code: str, detail: str = "", retry_after: float | None = None) -> Reply:
    """A problem+json answer as the engine writes them."""
    body = {
        "type": f"/problems/{code}",
        "title": code,
        "status": status,
        "code": code,
        "detail": detail or f"refused: {code}",
        "retryable": status in (429, 503),
        "retry_after": retry_after,
        "next_action": "",
    }
    return Reply(status, body, {} if retry_after is None else {"retry-after": str(retry_after)})


@dataclass
class ServerOffer:
    """``state``: open, accepted, declined, withdrawn, expired, done, cancelling (to be stopped and reported) or over
    (taken away). ``tokens``: lease tokens that came with what was said of it."""

    wire: dict[str, Any]
    node_id: str
    state: str = "open"
    reason: str = ""
    progress: list[tuple[int, str]] = field(default_factory=list)
    report: tuple[str, Any] | None = None
    tokens: list[int] = field(default_factory=list)


@dataclass
class ServerNode:
    description: dict[str, Any]
    state: str = "online"
    heartbeats: list[Any] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    polls: int = 0


class NodeApi:
    """The contract's server side. ``key``: the one key it knows. ``faults``: replies to give instead, by
    action."""

    def __init__(self, *, key: str = "test-key", heartbeat_interval_s: float = 10.0) -> None:
        self.key = key
        self.heartbeat_interval_s = heartbeat_interval_s
        self.nodes: dict[str, ServerNode] = {}
        self.offers: dict[str, ServerOffer] = {}
        self.calls: list[tuple[str, int]] = []
        self.faults: dict[str, deque[Reply]] = {}
        self.server = HttpServer(self._handle)
        self._changed = asyncio.Event()

    def offer(self, node_id: str, *, gpus: int = 1, price: str = "0.1", **wire: Any) -> str:
        """Put an open offer to a node; returns its id."""
        number = len(self.offers) + 1
        offer_id = f"offer_{number}"
        self.offers[offer_id] = ServerOffer(
            {
                "offer_id": offer_id,
                "job_id": f"job_{number}",
                "attempt": 1,
                "type": "llm_inference",
                "input": {"prompt": "hello"},
                "gpus": gpus,
                "price_per_gpu_hour_hyper": price,
                "timeout_s": 600,
                "created_at": "2026-01-01T00:00:00Z",
                "expires_at": "2026-01-01T00:00:30Z",
                **wire,
            },
            node_id,
        )
        self.pulse()
        return offer_id

    def pulse(self) -> None:
        """Wake everyone who waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Wait until ``condition`` holds; a TimeoutError is a failed test, not a measurement."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                await self._changed.wait()

    def fail_next(self, action: str, *replies: Reply) -> None:
        self.faults.setdefault(action, deque()).extend(replies)

    def node_id(self, wallet: str) -> str:
        """The id that the registration of ``wallet`` answers with."""
        return "node_" + hashlib.sha256(wallet.encode()).hexdigest()[:12]

    def count(self, action: str) -> int:
        return sum(1 for name, _ in self.calls if name == action)

    async def _handle(self, request: Request) -> Reply:
        parts = request.path.strip("/").split("/")
        action = parts[-1]
        faults = self.faults.get(action)
        reply = faults.popleft() if faults else await self._route(request, parts, action)
        self.calls.append((action, reply.status))
        self.pulse()
        return reply

    async def _route(self, request: Request, parts: list[str], action: str) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return problem(401, "unauthorised")
        if parts == ["v1", "node", "register"]:
            return self._register(request.body)
        node = self.nodes.get(parts[2])
        if node is None:
            return problem(404, "not_found", "no such node")
        if action == "offers":
            return await self._poll(parts[2], node, float(request.query["wait"]))
        if len(parts) == 4:
            return self._node_action(parts[2], node, action, request.body)
        offer = self.offers.get(parts[4])
        if offer is None or offer.node_id != parts[2]:
            return problem(404, "not_found", "no such offer")
        token = (request.body or {}).get("lease_token") or int(request.query.get("lease_token", 0))
        if token:
            offer.tokens.append(token)
            if token != offer.wire.get("lease_token"):
                return problem(409, "lease_lost")
        return self._offer_action(offer, action, request.body)

    def _register(self, body: dict[str, Any]) -> Reply:
        node_id = self.node_id(body["wallet"])
        known = self.nodes.get(node_id)
        if known is None:
            self.nodes[node_id] = ServerNode(body)
        else:
            known.description = body
        answer = {
            "node_id": node_id,
            "state": self.nodes[node_id].state,
            "created": known is None,
            "heartbeat_interval_s": self.heartbeat_interval_s,
            "offline_after_s": self.heartbeat_interval_s * 3,
        }
        return Reply(200 if known else 201, answer)

    async def _poll(self, node_id: str, node: ServerNode, wait_s: float) -> Reply:
        node.polls += 1
        self.pulse()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while not (found := self._open(node_id)) and node_id in self.nodes:
                    await self._changed.wait()
                return Reply(200, {"offers": [offer.wire for offer in found]})
        return Reply(200, {"offers": []})

    def _open(self, node_id: str) -> list[ServerOffer]:
        return [offer for offer in self.offers.values() if offer.node_id == node_id and offer.state == "open"]

    def _node_action(self, node_id: str, node: ServerNode, action: str, body: Any) -> Reply:
        if action == "heartbeat":
            node.heartbeats.append(body["gpu_utilization"])
            node.running = body.get("running", [])
            stop = [one for one in node.running if self.offers[one].state in ("cancelling", "over")]
            return Reply(200, {"state": node.state, "stop": stop})
        elif action == "drain":
            node.state = "draining"
            for offer in self._open(node_id):
                offer.state = "withdrawn"
        else:
            node.state = "online"
        return Reply(200, {"state": node.state})

    def _offer_action(self, offer: ServerOffer, action: str, body: Any) -> Reply:
        if offer.state == "over" or (offer.state == "withdrawn" and action != "decline"):
            return problem(409, "offer_over")
        if offer.state == "expired":
            return problem(410, "offer_expired")
        if action in ("accept", "decline"):
            offer.state = "accepted" if action == "accept" else "declined"
            offer.reason = body["reason"] if action == "decline" else ""
            wire = offer.wire
            return Reply(200, {"offer_id": wire["offer_id"], "job_id": wire["job_id"], "state": offer.state})
        if action == "progress":
            if offer.report is not None:
                return problem(409, "offer_over")
            if offer.state == "cancelling":
                return problem(409, "cancel_requested")
            offer.progress.append((body["percent"], body["message"]))
            return Reply(200, {"continue": True})
        report = (action, body)
        if offer.report not in (None, report):
            return problem(409, "conflict", "another report was first")
        offer.report, offer.state = report, "done"
        return Reply(200, {"state": "done"})
