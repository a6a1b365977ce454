"""The network for agents written in Python, called as ElizaOS's documents call it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from agent_plugins.eliza.actions import snake_cased
from app.core.errors import InvalidInput
from hae_client import AsyncClient, InvalidArgument, models, verify_webhook

_SETTINGS = {
    "url": "HYPERNODE_API_URL",
    "key": "HYPERNODE_API_KEY",
    "webhook_secret": "HYPERNODE_WEBHOOK_SECRET",
}


class ElizaAgent:
    """An agent's hands on the network.

    ``config``: HYPERNODE_API_URL, HYPERNODE_API_KEY and HYPERNODE_WEBHOOK_SECRET; what is not in it comes from the
    environment. ``transport``: instead of the network. Use it in an ``async with`` block, or close it.

    Options are those of the tools, as a mapping or as keywords, also written as in JavaScript (``jobId``). Methods
    raise what hae_client.errors draws: a refusal carries the problem that the server told, an option that there is not
    is named in it.
    """

    def __init__(
        self, config: Mapping[str, str] | None = None, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        given = dict(config or {})
        unknown = sorted(set(given) - set(_SETTINGS.values()))
        if unknown:
            raise InvalidArgument(f"unknown setting {unknown[0][:60]}; there are {', '.join(_SETTINGS.values())}")
        known = {name: given.get(variable, os.environ.get(variable)) for name, variable in _SETTINGS.items()}
        self.webhook_secret = known["webhook_secret"] or ""
        self.client = AsyncClient(known["url"], known["key"], transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    async def submit_job(self, job: Mapping[str, Any] | None = None, **options: Any) -> models.SubmitAnswer:
        """Submit a job: its ``job_id`` and state, at once. Tried again after a broken connection, it stays one job."""
        return await self.client.submit(**_options(job, options))

    submitJob = submit_job  # noqa: N815  as the network's documents write it

    async def check_availability(
        self, wants: Mapping[str, Any] | None = None, **options: Any
    ) -> models.AvailabilityAnswer:
        """How many nodes suit some requirements, how many of them are free, and their prices."""
        return await self.client.availability(**_options(wants, options))

    async def quote(self, wants: Mapping[str, Any] | None = None, **options: Any) -> models.QuoteAnswer:
        """What a job would cost in HYPER; not binding."""
        return await self.client.quote(**_options(wants, options))

    async def job_status(self, job_id: str) -> models.JobAnswer:
        """The job as it is now, with its result once it is completed."""
        return await self.client.get(job_id)

    async def wait_for_job(self, job_id: str, timeout_s: float | None = None) -> models.JobAnswer:
        """The job once it is over. Raises WaitTimeout after ``timeout_s`` seconds; the job goes on."""
        return await self.client.wait(job_id, timeout_s)

    async def cancel_job(self, job_id: str) -> models.JobAnswer:
        """Ask for the end of a job, by its id."""
        return await self.client.cancel(job_id)

    async def events(self, after: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """What happens to the agent's jobs and plans, as runtime events ``{type, text, payload}``, without an end.

        From behind the position ``after`` (``payload["position"]`` of the last one seen); None = from now on. Broken
        connections are made anew behind the last event: none is missed or told twice.
        """
        position = (await self.client.read_events("latest", limit=1)).latest if after is None else after
        async for event in self.client.follow("/v1/agents/eliza/events", {"after": str(position)}, position):
            yield event.data

    def verify_webhook(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """The event of a webhook that the engine sent, once its signature is found good.

        ``body``: the bytes as they came. Raises InvalidSignature, and InvalidArgument without HYPERNODE_WEBHOOK_SECRET.
        """
        if not self.webhook_secret:
            raise InvalidArgument("HYPERNODE_WEBHOOK_SECRET is needed to verify webhooks")
        return verify_webhook(self.webhook_secret, headers, body)


def _options(given: Mapping[str, Any] | None, more: Mapping[str, Any]) -> Any:
    twice = sorted(set(given or {}) & set(more))
    if twice:
        raise InvalidArgument(f"{twice[0]} is given twice")
    try:
        return snake_cased({**(given or {}), **more})
    except InvalidInput as error:
        raise InvalidArgument(error.detail) from error
