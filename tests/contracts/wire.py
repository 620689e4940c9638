"""A wire between a PostgreSQL client and its server that is cut at a chosen message."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path

NAME = ".s.PGSQL.5432"  # what a client looks for in the folder that it takes for a host


class Wire:
    """Listens in a folder of its own and passes everything on, until `cut` says where to stop.

    Args:
        server: the folder with the server's socket.
        folder: where to listen; clients name it as their host.
    """

    def __init__(self, server: str, folder: Path) -> None:
        self._server = str(Path(server) / NAME)
        self._left: int | None = None
        self._after = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / NAME))
        self._listener.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, number: int, *, after: bool) -> None:
        """Cut at the client's `number`-th message from now on: before the server has it, or after, with its answer lost."""
        self._left, self._after = number, after

    def mend(self) -> bool:
        """Cut no more; was it cut?"""
        was_cut, self._left = self._left is None, None
        return was_cut

    def close(self) -> None:
        """Listen no longer."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(self._server)
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(1 << 16)
                    is_cut = ready is client and self._is_cut_here()
                    if not data or (is_cut and not self._after):
                        return
                    (server if ready is client else client).sendall(data)
                    if is_cut:
                        server.recv(1 << 16)
                        return

    def _is_cut_here(self) -> bool:
        if self._left is None:
            return False
        self._left = None if self._left == 0 else self._left - 1
        return self._left is None
