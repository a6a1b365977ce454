"""HTTP/1.1 for the JSON-RPC: keep-alive, batches, bounded bodies, and what faults do to answers."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11

from app.chain.devchain import wire
from app.chain.devchain.errors import RpcError
from app.chain.devchain.faults import Fault, Kind
from app.chain.devchain.node import Node

MAX_BODY_BYTES = 16 * 1024 * 1024
_PAGE = b"<html>\r\n<head><title>%b</title></head>\r\n<body>\r\n<center><h1>%b</h1></center>\r\n</body>\r\n</html>\r\n"
_PAGES = {Kind.HTTP_500: (500, b"500 Internal Server Error"), Kind.HTTP_502: (502, b"502 Bad Gateway")}
_HTTP_KINDS = (Kind.DROP, Kind.HTTP_429, Kind.HTTP_500, Kind.HTTP_502)
_CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-allow-methods", b"POST, GET, OPTIONS"),
]


class HttpConnection(asyncio.Protocol):
    """One client's connection; requests are answered one after another."""

    def __init__(self, node: Node, open_connections: set[HttpConnection]) -> None:
        self._node = node
        self._open = open_connections
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
        self._transport: asyncio.Transport | None = None
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._too_large = False
        self._busy = False
        self._later: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._open.discard(self)
        if self._later is not None:
            self._later.cancel()

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        self._read()

    def eof_received(self) -> bool:
        self._http.receive_data(b"")
        self._read()
        return False

    def pause_writing(self) -> None:
        # A client that does not take its answers is not asked for more requests.
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def abort(self) -> None:
        """Cut the connection off."""
        if self._transport is not None:
            self._transport.abort()

    def _read(self) -> None:
        while self._transport is not None and not self._busy:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint)
                return
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    self._write(h11.InformationalResponse(status_code=100, headers=[]))
                return
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                if self._http.our_state is h11.MUST_CLOSE or isinstance(event, h11.ConnectionClosed):
                    self._transport.close()
                return
            if isinstance(event, h11.Request):
                self._request, self._body, self._too_large = event, bytearray(), False
            elif isinstance(event, h11.Data):
                self._too_large |= len(self._body) + len(event.data) > MAX_BODY_BYTES
                if not self._too_large:
                    self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._answer()

    def _answer(self) -> None:
        assert self._request is not None
        method, path = self._request.method, self._request.target
        if self._too_large:
            self._respond(413, b"text/plain", b"the body is larger than 16 MiB")
        elif method == b"OPTIONS":
            self._respond(200, b"text/plain", b"")
        elif method == b"GET" and path == b"/health":
            self._respond(200, b"text/plain", b"behind { distance: %d }" % self._node.lag if self._node.lag else b"ok")
        elif method != b"POST":
            self._respond(405, b"text/plain", b"Used HTTP Method is not allowed. POST or OPTIONS is required\n")
        else:
            self._call()

    def _call(self) -> None:
        faults = self._node.faults
        try:
            message = wire.parse(self._body)
        except RpcError as error:
            self._respond(200, b"application/json", wire.failure(None, error))
            return
        cut = None
        names = wire.methods_of(message)
        if faults and not all(name.startswith("devchain_") for name in names):
            fault = self._strike(_HTTP_KINDS, names)
            if fault is not None:
                self._fail(fault)
                return
            cut = self._strike((Kind.DROP_MID,), names)
            slow = self._strike((Kind.SLOW,), names)
            if slow is not None:
                self._busy = True
                wait = 1.0 if slow.value is None else float(slow.value)
                self._later = asyncio.get_running_loop().call_later(wait, self._finish_later, message, cut)
                return
        self._finish(message, cut)

    def _finish_later(self, message: Any, cut: Fault | None) -> None:
        self._busy, self._later = False, None
        self._finish(message, cut)
        self._read()

    def _finish(self, message: Any, cut: Fault | None) -> None:
        body = wire.answer(self._node, message)
        if cut is None:
            self._respond(200, b"application/json", body)
            return
        assert self._transport is not None
        head = self._http.send(h11.Response(status_code=200, headers=_headers(b"application/json", len(body))))
        self._transport.write(head + body[: len(body) // 2])
        # Not abort: what was written has to arrive first.
        self._transport.close()

    def _strike(self, kinds: tuple[Kind, ...], names: frozenset[str]) -> Fault | None:
        found = (self._node.faults.strike_request(kind, names) for kind in kinds)
        return next((fault for fault in found if fault is not None), None)

    def _fail(self, fault: Fault) -> None:
        if fault.kind is Kind.DROP:
            self.abort()
        elif fault.kind is Kind.HTTP_429:
            wait = str(1 if fault.value is None else fault.value).encode()
            self._respond(429, b"text/plain", b"Too Many Requests", [(b"retry-after", wait)])
        else:
            status, title = _PAGES[fault.kind]
            self._respond(status, b"text/html", _PAGE % (title, title))

    def _refuse(self, status: int) -> None:
        """Answer what is not HTTP, and close."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._respond(status, b"text/plain", b"not a request this server understands", [(b"connection", b"close")])
        if self._transport is not None:
            self._transport.close()

    def _respond(self, status: int, kind: bytes, body: bytes, more: list[tuple[bytes, bytes]] | None = None) -> None:
        headers = _headers(kind, len(body)) + (more or [])
        head = self._http.send(h11.Response(status_code=status, headers=headers))
        data = self._http.send(h11.Data(data=body)) if body else b""
        end = self._http.send(h11.EndOfMessage())
        assert self._transport is not None and head is not None
        self._transport.write(b"".join((head, data or b"", end or b"")))
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        elif self._http.our_state is h11.MUST_CLOSE:
            self._transport.close()

    def _write(self, event: h11.InformationalResponse) -> None:
        assert self._transport is not None
        self._transport.write(self._http.send(event) or b"")


def _headers(kind: bytes, size: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", kind), (b"content-length", b"%d" % size), *_CORS]
