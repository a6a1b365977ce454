"""Client of the Hypernode Automation Engine: submit GPU jobs and plans, follow them, verify webhooks.

    from hae_client import Client

    with Client() as hae:                     # HYPERNODE_API_URL, HYPERNODE_API_KEY
        job = hae.submit(type="llm_inference", model="qwen-7b", prompt="Explain quantum computing")
        print(hae.wait(job.job_id).result)

``AsyncClient`` has the same methods for asyncio. Types are in hae_client.models, errors in hae_client.errors.
"""

from hae_client.aio import AsyncClient
from hae_client.errors import (
    ApiError,
    BadRequest,
    BudgetExceeded,
    Conflict,
    Forbidden,
    Gone,
    HypernodeError,
    InvalidArgument,
    InvalidSignature,
    NotFound,
    ServerError,
    TooMany,
    Unauthorised,
    Unreachable,
    UnreadableAnswer,
    WaitTimeout,
)
from hae_client.sse import Event
from hae_client.sync import Client
from hae_client.webhooks import verify_webhook

__all__ = [
    "ApiError",
    "AsyncClient",
    "BadRequest",
    "BudgetExceeded",
    "Client",
    "Conflict",
    "Event",
    "Forbidden",
    "Gone",
    "HypernodeError",
    "InvalidArgument",
    "InvalidSignature",
    "NotFound",
    "ServerError",
    "TooMany",
    "Unauthorised",
    "Unreachable",
    "UnreadableAnswer",
    "WaitTimeout",
    "verify_webhook",
]
