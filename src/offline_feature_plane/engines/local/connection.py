"""DuckDB as a locked room: in memory, UTC, no extensions, no file but its own scratch folder (R13)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import duckdb

from offline_feature_plane.errors import EngineFailed, OfsError, ResourceExceeded, SettingsInvalid, SourceUnreadable, StorageIoFailure


class Database:
    """A connection of `open_connection`, made when it is needed: a build whose ids are integers that were counted up needs none."""

    def __init__(self, work: Path, memory_limit: str | None = None, threads: int | None = None) -> None:
        self._how = work, memory_limit, threads
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._opening = threading.Lock()

    def __enter__(self) -> Self:
        """Use it in a `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what was opened."""
        self.close()

    def close(self) -> None:
        """Give all of its memory back; whoever asks again opens it anew."""
        with self._opening:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of the caller's own to it, to be closed. Raises as `open_connection`."""
        with self._opening:
            self._connection = self._connection or open_connection(*self._how)
        return self._connection.cursor()


def open_connection(work: Path, memory_limit: str | None = None, threads: int | None = None,
                    readable: Sequence[str] = ()) -> duckdb.DuckDBPyConnection:
    """Open a locked in-memory DuckDB that spills into `work` and can open nothing else but `readable` files.

    Args:
        work: an existing scratch folder of this build.
        memory_limit: such as `4GB`; None leaves DuckDB's default.
        threads: None leaves DuckDB's default.
        readable: files that DuckDB may open by these names. (Its allowed paths grant writing too: hash what matters.)

    Raises:
        SettingsInvalid: a malformed limit. StorageIoFailure: the scratch folder cannot be used.
    """
    with foreign_errors("opening DuckDB"):
        connection = duckdb.connect(":memory:", config={
            "autoinstall_known_extensions": False, "autoload_known_extensions": False, "allow_community_extensions": False,
            "allow_unsigned_extensions": False, "allow_persistent_secrets": False})
        try:
            if memory_limit is not None:
                connection.execute("SET memory_limit = $limit", {"limit": memory_limit})
            if threads is not None:
                connection.execute("SET threads = $threads", {"threads": threads})
        except (duckdb.ParserException, duckdb.InvalidInputException, duckdb.SyntaxException, duckdb.OutOfRangeException) as wrong:
            connection.close()
            raise SettingsInvalid(f"memory_limit {memory_limit!r} or threads {threads!r} is not valid: {wrong}.", path="engine",
                                  fix="Write for example memory_limit: 4GB and threads: 2.") from wrong
        connection.execute("SET temp_directory = $folder", {"folder": str(work)})
        connection.execute("SET allowed_paths = $paths", {"paths": list(readable)})
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = true")
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    return connection


@contextmanager
def foreign_errors(doing: str) -> Iterator[None]:
    """Turn what DuckDB raises into OFS errors; `doing` says what was going on.

    Raises:
        ResourceExceeded: out of memory. StorageIoFailure: the scratch disk. SourceUnreadable: a file. EngineFailed: anything else.
    """
    try:
        yield
    except OfsError:
        raise
    except (duckdb.OutOfMemoryException, MemoryError) as wrong:
        raise ResourceExceeded(f"{doing} needs more memory than it may use: {_first_line(wrong)}.",
                               fix="Raise `memory_limit`, or build on a larger machine.") from wrong
    except (duckdb.IOException, OSError) as wrong:
        if "No such file" in str(wrong) or "No files found" in str(wrong):
            raise SourceUnreadable(f"{doing} found no file: {_first_line(wrong)}.", fix="Restore the file.") from wrong
        raise StorageIoFailure(f"{doing} met a disk error: {_first_line(wrong)}.",
                               fix="Check the free space of the scratch folder.") from wrong
    except duckdb.Error as wrong:
        raise EngineFailed(f"{doing} failed in DuckDB: {type(wrong).__name__}: {_first_line(wrong)}.", fix="Please report this.") from wrong


def _first_line(wrong: BaseException) -> str:
    return (str(wrong).strip().splitlines() or [type(wrong).__name__])[0]
