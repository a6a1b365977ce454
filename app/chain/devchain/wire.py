"""JSON-RPC 2.0 messages: single calls and batches in, bytes out. Bad input of any kind is an error answer."""

from __future__ import annotations

from typing import Any

import msgspec

from app.chain.devchain.errors import INVALID_REQUEST, PARSE_ERROR, RpcError
from app.chain.devchain.node import Node
from app.chain.devchain.records import encode_json

_INVALID = RpcError(INVALID_REQUEST, "Invalid request")


def parse(body: bytes | bytearray) -> Any:
    """The JSON of a request. Raises RpcError."""
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, "Parse error") from error


def methods_of(message: Any) -> frozenset[str]:
    """The methods that a call or a batch names."""
    calls = message if isinstance(message, list) else [message]
    return frozenset(call["method"] for call in calls if isinstance(call, dict) and isinstance(call.get("method"), str))


def answer(node: Node, message: Any) -> bytes:
    """The answer to a call or a batch; empty when nothing but notifications came."""
    if not isinstance(message, list):
        return _one(node, message)
    if not message:
        return failure(None, _INVALID)
    answers = [one for one in (_one(node, call) for call in message) if one]
    return b"[%b]" % b",".join(answers) if answers else b""


def call_of(message: Any) -> tuple[Any, str, Any]:
    """Id, method and parameters of a call. Raises RpcError."""
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise _INVALID
    method = message.get("method")
    if not isinstance(method, str):
        raise _INVALID
    return message.get("id"), method, message.get("params")


def id_of(message: Any) -> Any:
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, str | int | float) else None


def success(number: Any, result: bytes) -> bytes:
    # Most ids are small numbers: no need to go through the encoder.
    shown = b"%d" % number if type(number) is int else encode_json(number)
    return b'{"jsonrpc":"2.0","result":%b,"id":%b}' % (result, shown)


def failure(number: Any, error: RpcError) -> bytes:
    return encode_json({"jsonrpc": "2.0", "error": error.as_object(), "id": number})


def _one(node: Node, message: Any) -> bytes:
    try:
        number, method, params = call_of(message)
        result = node.call(method, params)
    except RpcError as error:
        if isinstance(message, dict) and "id" not in message and error is not _INVALID:
            return b""
        return failure(id_of(message), error)
    return success(number, result) if "id" in message else b""
