"""The subscriptions of one websocket connection: what is asked for, and what the messages on it mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from app.chain.rpc.records import is_signature

_SLOTS = 0
"""The request number of the slot subscription; programs have theirs from 1."""


class Hint(NamedTuple):
    program: str
    signature: str
    slot: int


class RefusedError(Exception):
    """The node does not subscribe us. Its text names no address."""


class _Context(msgspec.Struct):
    slot: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Value(msgspec.Struct):
    signature: str


class _Result(msgspec.Struct):
    context: _Context | None = None
    value: _Value | None = None


class _Params(msgspec.Struct):
    subscription: int | str
    result: _Result | None = None


class _Error(msgspec.Struct):
    code: int | None = None


class _Message(msgspec.Struct):
    """An answer to a request, or a notification. What is not declared, logs above all, is skipped, not read."""

    id: int | None = None
    result: int | str | None = None
    error: _Error | None = None
    method: str = ""
    params: _Params | None = None


_decode = msgspec.json.Decoder(_Message).decode


class Subscriptions:
    """One logsSubscribe a program, and slotSubscribe where ``slots``, which may be refused.

    ``malformed`` counts messages that could not be read; they change nothing.
    """

    def __init__(self, programs: Sequence[str], commitment: str, *, slots: bool) -> None:
        self._commitment = commitment
        self._pending = dict(enumerate(programs, 1))
        self._slots_pending = slots
        self._programs: dict[int | str, str] = {}
        self._slots: int | str | None = None
        self.malformed = 0

    def requests(self) -> list[str]:
        """What to send, a message each."""
        config = {"commitment": self._commitment}
        asked: list[tuple[int, str, list[Any]]] = [
            (number, "logsSubscribe", [{"mentions": [program]}, config]) for number, program in self._pending.items()
        ]
        if self._slots_pending:
            asked.append((_SLOTS, "slotSubscribe", []))
        return [
            msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).decode()
            for number, method, params in asked
        ]

    @property
    def complete(self) -> bool:
        """Whether every request is answered."""
        return not self._pending and not self._slots_pending

    @property
    def slots(self) -> bool:
        """Whether the node notifies of slots, and so is never silent for long."""
        return self._slots is not None

    def take(self, data: bytes) -> Hint | None:
        """Read one message. Raises RefusedError when a program's subscription is refused."""
        try:
            message = _decode(data)
        except (ValueError, RecursionError):
            self.malformed += 1
            return None
        if message.params is None:
            self._answer(message)
            return None
        return self._notification(message.params)

    def _notification(self, params: _Params) -> Hint | None:
        program = self._programs.get(params.subscription)
        result = params.result
        if program is not None and result is not None and result.context is not None and result.value is not None:
            if is_signature(result.value.signature):
                return Hint(program, result.value.signature, result.context.slot)
        elif program is None and params.subscription == self._slots:
            return None
        self.malformed += 1
        return None

    def _answer(self, message: _Message) -> None:
        if message.id == _SLOTS and self._slots_pending:
            self._slots_pending = False
            self._slots = message.result
        elif message.error is not None:
            # Some refuse without saying what: then nothing on this connection can be relied on.
            raise RefusedError(f"subscription refused ({message.error.code})")
        elif message.id in self._pending and message.result is not None:
            self._programs[message.result] = self._pending.pop(message.id)
        else:
            self.malformed += 1
