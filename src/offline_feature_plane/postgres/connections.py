"""Connections to PostgreSQL: kept between transactions, used by one thread at a time, never by another process, never waited on forever."""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from offline_feature_plane.postgres.address import Address

KEPT: Final = 4  # a worker and its heartbeat need two

_GRACE_S: Final = 2.0  # for the server's own time-outs, which say more, to come first
_KEEPALIVES: Final[dict[str, Any]] = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}

Answer = TypeVar("Answer")


class PatientConnection(psycopg.Connection[dict[str, Any]]):
    """A connection on which no wait for the server lasts longer than `patience_s`, whatever has become of the server."""

    patience_s: float = 10.0

    def wait(self, gen: Generator[Any, Any, Answer], *args: Any, **kwargs: Any) -> Answer:
        """Wait as the driver does. Raises psycopg.OperationalError when patience is at its end."""
        try:
            wanted = next(gen)
        except StopIteration as end:  # it is here already, as nearly every row is of those that are streamed
            answer: Answer = end.value
            return answer
        return super().wait(_bounded(gen, wanted, self.patience_s), *args, **kwargs)


def _bounded(waits: Generator[Any, Any, Answer], wanted: Any, patience_s: float) -> Generator[Any, Any, Answer]:
    """The driver's waits one by one, until they have taken too long; the driver looks up at least every tenth of a second."""
    until = time.monotonic() + patience_s
    try:
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > until:
                raise psycopg.OperationalError(f"no answer within {patience_s:g} s")
            wanted = waits.send(ready)
    except StopIteration as end:
        answer: Answer = end.value
        return answer


class Connections:
    """Opens and keeps the connections of one address.

    Args:
        address: where.
        patience_s: how long opening one, and waiting for a lock, may take.
        statement_s: how long each statement may take, and each piece of what one streams; None: as long.
    """

    def __init__(self, address: Address, patience_s: float, statement_s: float | None = None) -> None:
        self._address = address
        self._patience_s = patience_s
        self._statement_s = patience_s if statement_s is None else statement_s
        self._idle: dict[int, list[PatientConnection]] = {}  # by process: a fork must not speak on its parent's connections
        weakref.finalize(self, _close_idle, self._idle)

    @contextmanager
    def begun(self, *, reads: bool) -> Iterator[PatientConnection]:
        """A connection with a transaction begun, one that only reads or not. What was not committed at the end is rolled back."""
        connection = self._begin(reads=reads)
        try:
            yield connection
        finally:
            self._put_back(connection)

    def _begin(self, *, reads: bool) -> PatientConnection:
        while True:
            connection, is_kept = self._take()
            try:
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if reads else "BEGIN ISOLATION LEVEL READ COMMITTED")
                self._settle(connection)
            except BaseException as wrong:
                is_lost = is_kept and connection.closed and isinstance(wrong, psycopg.OperationalError)
                connection.close()
                if not is_lost:  # else that happened while nobody used it: nothing was asked yet, so ask on another
                    raise
            else:
                return connection

    def _settle(self, connection: PatientConnection) -> None:
        """What every transaction sets for itself: where its tables are, how long it waits, and that a commit is on disk when it returns.

        A transaction that its client forgot ends before a second lease does, so that its run can be taken over.
        """
        connection.execute(
            """SELECT set_config('search_path', %(path)s, true), set_config('lock_timeout', %(wait)s, true),
                      set_config('statement_timeout', %(long)s, true), set_config('idle_in_transaction_session_timeout', %(long)s, true),
                      set_config('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'), true)""",
            {"path": f"{self._address.schema}, pg_temp", "wait": _milliseconds(self._patience_s),
             "long": _milliseconds(self._statement_s)})

    def _take(self) -> tuple[PatientConnection, bool]:
        with suppress(KeyError, IndexError):
            return self._idle[os.getpid()].pop(), True
        return self._open(), False

    def _open(self) -> PatientConnection:
        try:
            connection = PatientConnection.connect(
                self._address.conninfo, autocommit=True, prepare_threshold=None, row_factory=dict_row, client_encoding="UTF8",
                connect_timeout=max(2, math.ceil(self._patience_s)), fallback_application_name="ofs", **_KEEPALIVES,
                tcp_user_timeout=math.ceil(self._patience_s * 1000))
        except UnicodeError as wrong:  # what no resolver takes for a host's name
            raise psycopg.OperationalError(str(wrong)) from wrong
        connection.patience_s = self._statement_s + _GRACE_S
        return connection

    def _put_back(self, connection: PatientConnection) -> None:
        """Keep a connection that is between transactions; close any other, whose transaction then ends in the server."""
        if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
        idle = self._idle.setdefault(os.getpid(), [])
        if connection.info.transaction_status == TransactionStatus.IDLE and len(idle) < KEPT:
            idle.append(connection)
        else:
            connection.close()


def _milliseconds(seconds: float) -> str:
    return f"{math.ceil(seconds * 1000)}ms"


def _close_idle(idle: dict[int, list[PatientConnection]]) -> None:
    for connection in idle.get(os.getpid(), []):
        connection.close()
