"""What a call to the chain raises.

RpcError         a node's answer: the request is at fault, or cannot be answered
RpcUnavailable   no endpoint gave an answer in time: try again
"""

from __future__ import annotations

from typing import Any, Final

from app.core.errors import Unavailable

MALFORMED: Final = 0
"""Code of an RpcError for a result that is not what the method promises. No node uses it."""


class RpcError(Exception):
    """The node's own error, final: asking again would not help. ``data`` as the node sent it, None for none."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class RpcUnavailable(Unavailable):
    """Names each endpoint tried, by host only, with its last trouble. ``retry_after``: the shortest rest, in s."""

    code = "chain_unavailable"
