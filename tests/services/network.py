"""A slow or broken network between clients and a broker: bytes pass at a rate, or not at all, or the connection ends."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Self

_PIECE = 16_384


class Network:
    """Forwards connections, as a context; `bytes_per_s` slows what a server sends, `cut` ends every connection."""

    def __init__(self, port: int, to: int) -> None:
        self._to, self.bytes_per_s = to, 0
        self._listening = socket.create_server(("127.0.0.1", port), reuse_port=True)
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        """The network itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing passes any more."""
        self._listening.close()
        self.cut()

    def cut(self) -> None:
        """End every connection."""
        while self._open:
            with suppress(OSError), self._open.pop() as one:
                one.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                with suppress(OSError):
                    server = socket.create_connection(("127.0.0.1", self._to))
                    self._open += [client, server]
                    for one, other, slow in ((client, server, False), (server, client, True)):
                        threading.Thread(target=self._carry, args=(one, other, slow), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, slow: bool) -> None:
        with suppress(OSError):
            while piece := one.recv(_PIECE):
                if slow and self.bytes_per_s:
                    time.sleep(len(piece) / self.bytes_per_s)
                other.sendall(piece)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
