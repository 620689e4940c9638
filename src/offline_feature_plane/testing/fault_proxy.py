"""An HTTP proxy between a client and a real server of objects, which does to chosen requests what networks and servers do.

    with FaultProxy("http://127.0.0.1:8333") as proxy:
        store = MyStore(endpoint=proxy.url)
        proxy.script(Fault("reset after", "PutObject"))
        store.put_new("key", b"...")    # the first PUT arrives, and its answer is lost

Requests are forwarded untouched, with their host and signature. A whole store that lies is a function that stands in between.
"""

from __future__ import annotations

import http.client
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from offline_feature_plane.testing.object_requests import Answer, Request, Wire

How = Literal["reset before", "reset after", "500 after", "503 before", "409 before", "412 before", "reset in upload", "reset in download",
              "truncate", "corrupt upload", "corrupt download", "delay", "twice", "ignore condition"]

_KEPT_TO_ITSELF: Final = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}
_CONDITIONS: Final = ("if-none-match", "if-match")
_CODES: Final = {409: "ConditionalRequestConflict", 412: "PreconditionFailed", 500: "InternalError", 503: "SlowDown"}


@dataclass(frozen=True)
class Fault:
    """What happens to which request.

    Args:
        how: what happens. `before` means that the server never sees the request, `after` that it did all of it; `truncate` ends the answer
            early, `corrupt` flips a bit, `delay` keeps the answer back, `twice` forwards the request twice and gives the second answer;
            `ignore condition` takes `If-None-Match` away, which only a server that checks no signatures lets pass.
        operation: S3's name of the operation, as `operation_of` tells it; None means any.
        nth: which of such requests, counted from 0; None means each of them.
        where: in which part of the bytes, headers included in an answer: 0.5 is their middle.
        seconds: of a delay.
    """

    how: How
    operation: str | None = None
    nth: int | None = 0
    where: float = 0.5
    seconds: float = 2.0


Forward = Callable[[Request], Answer]
Between = Callable[[Request, Forward], Answer]

RESET: Final = Wire(then="resets")


class FaultProxy:
    """A proxy on a port of the loopback, in threads of this process.

    Attributes:
        between: stands between client and server for every request that no fault strikes; at first it forwards them.
        seen: the operations that came since the script began.
        struck: how many of them met a fault.
    """

    def __init__(self, upstream: str) -> None:
        self.between: Between = lambda request, forward: forward(request)
        self.seen: list[str] = []
        self.struck = 0
        self._upstream = urlsplit(upstream)
        self._faults: Sequence[Fault] = ()
        self._turn = threading.Lock()
        self._ended = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.serve = self._serve
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """The proxy's own address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def script(self, *faults: Fault) -> None:
        """From now on these faults strike, and counting begins anew; the first one that matches a request wins."""
        with self._turn:
            self._faults, self.seen, self.struck = faults, [], 0

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, request: Request) -> Wire:
        fault = self._next_fault(request.operation)
        try:
            return self.between(request, self._forward).wire() if fault is None else self._struck(fault, request)
        except (OSError, http.client.HTTPException):  # the server is gone
            return RESET

    def _next_fault(self, operation: str) -> Fault | None:
        with self._turn:
            self.seen.append(operation)
            for fault in self._faults:
                nth = self.seen.count(operation) if fault.operation else len(self.seen)
                if fault.operation in {None, operation} and fault.nth in {None, nth - 1}:
                    self.struck += 1
                    return fault
            return None

    def _struck(self, fault: Fault, request: Request) -> Wire:
        kind, _, when = fault.how.partition(" ")
        if when == "before":
            return RESET if kind == "reset" else _unseen(request, int(kind)).wire()
        if fault.how == "reset in upload":
            self._forward_part(request, fault.where)
            return RESET
        if fault.how == "corrupt upload":
            request = request.changed(body=_flipped(request.body, fault.where))
        if fault.how == "ignore condition":
            request = request.changed(without=_CONDITIONS)
        if fault.how == "twice":
            self._forward(request)
        whole = self._forward(request).wire()
        if fault.how == "delay":
            self._ended.wait(fault.seconds)
        return _spoilt(whole, fault)

    def _forward(self, request: Request) -> Answer:
        connection = self._connected(request)
        try:
            connection.endheaders(request.body)
            answer = connection.getresponse()
            headers = tuple((name, value) for name, value in answer.getheaders() if name.lower() not in _KEPT_TO_ITSELF)
            if request.method == "HEAD":  # the length of what does not come
                headers += (("Content-Length", answer.getheader("Content-Length") or "0"),)
            return Answer(answer.status, headers, answer.read())
        finally:
            connection.close()

    def _forward_part(self, request: Request, share: float) -> None:
        connection = self._connected(request)
        try:
            connection.endheaders(request.read(int(request.length * share)))
        finally:
            connection.close()

    def _connected(self, request: Request) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=60)
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers:
            if name.lower() not in _KEPT_TO_ITSELF - {"content-length"}:
                connection.putheader(name, value)
        return connection


def _unseen(request: Request, status: int) -> Answer:
    """An answer that the proxy makes up; the client has sent its body in vain."""
    _ = request.body
    return Answer.error(status, _CODES[status])


def _spoilt(whole: Wire, fault: Fault) -> Wire:
    """What becomes of an answer on its way back."""
    match fault.how:
        case "reset after":
            return RESET
        case "500 after":
            return Answer.error(500, _CODES[500]).wire()
        case "reset in download":
            return Wire(whole.data[:int(len(whole.data) * fault.where)], "resets")
        case "truncate":
            return Wire(whole.data[:int(len(whole.data) * fault.where)], "ends")
        case "corrupt download":
            return Wire(_flipped(whole.data, fault.where))
    return whole


def _flipped(data: bytes, share: float) -> bytes:
    """The bytes with one bit flipped."""
    place = int(len(data) * share)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1:] if data else data


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    serve: Callable[[Request], Wire]

    def shutdown_request(self, request: Any) -> None:
        """Close without a polite end before it, which would hide a reset."""
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        """Small answers go out at once."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _one(self) -> None:
        request = Request(self.command, self.path, tuple(self.headers.items()), self.rfile)
        wire = self.server.serve(request)
        with suppress(OSError):
            self.wfile.write(wire.data)
        self.close_connection = self.close_connection or wire.then != "stays"
        if wire.then == "resets":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _one  # noqa: N815 - the names that the server looks for
