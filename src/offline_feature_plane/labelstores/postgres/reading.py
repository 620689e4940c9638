"""The one way in which labels are read from PostgreSQL: those of a type that had been observed at a cut, in one snapshot, all of them.

Types that are pinned together are pinned in one snapshot, so that what was loaded at once is seen of all of them or of none. Assertions
stay for ever and their positions become visible in order: whenever they are read, up to its pin a type is what that snapshot held.

Rows come as CSV by COPY, which PostgreSQL writes and Arrow reads faster than anything that goes value by value through Python
(`docs/benchmarks.md`), and go on in pieces: memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, LiteralString

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from psycopg.sql import SQL, Composed, Literal

from offline_feature_plane.contracts.plan import StoreMarker
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.errors import LabelHistoryChanged, LabelStoreUnavailable, StorageIoFailure
from offline_feature_plane.labelstores.postgres.snapshots import begun
from offline_feature_plane.postgres.address import Address
from offline_feature_plane.postgres.connections import PatientConnection

SILENCE_S: Final = 120.0  # before a stream that does not go on is given up

_PIECE: Final = 8_000_000  # bytes of CSV
_INSTANT: Final = pa.timestamp("us", "UTC")
_SCHEMA: Final = pa.schema([
    ("event_id", pa.string()), ("label_value", pa.string()), ("observed_time", _INSTANT), ("effective_time", _INSTANT),
    ("source_type", pa.string()), ("label_assertion_id", pa.string()), ("supersedes", pa.string())])
_AS_OF: Final = SQL("label_type = {type} AND observed_time <= {cut}")
_STORE_ID: Final = SQL("(SELECT store_id::text FROM label_store LIMIT 1) AS store_id")
_PARSE: Final = pa.csv.ParseOptions(newlines_in_values=True)
_CONVERT: Final = pa.csv.ConvertOptions(column_types=_SCHEMA, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False)


def measure(address: Address, label_types: Sequence[str], asof_us: int) -> dict[str, StoreMarker]:
    """How far the log of each label type reaches below a cut, all of them at one moment.

    Raises:
        LabelStoreUnavailable: as `begun`, or there is no assertion of a type at all. SourceColumnUnknown, SourceTypeMismatch.
    """
    with begun(address, reads=True) as connection:
        return {label_type: _measure(connection, address, label_type, asof_us) for label_type in label_types}


def _measure(connection: PatientConnection, address: Address, label_type: str, asof_us: int) -> StoreMarker:
    (row,) = _asked(connection, """
        SELECT {store_id}, coalesce(max(position), 0) AS position, count(*) AS assertions,
               EXISTS (SELECT FROM label_assertions WHERE label_type = {type}) AS is_known
        FROM label_assertions WHERE {as_of}""", label_type, asof_us)
    if not row["is_known"]:
        raise LabelStoreUnavailable(f"the label store holds no {label_type} assertion.", path=address.text,
                                    fix="Load them with `ofs label-store load`, or correct the label type, or the address.")
    return StoreMarker(store_id=row["store_id"], position=row["position"], assertions=row["assertions"])


def write_file(address: Address, label_type: str, asof_us: int, marker: StoreMarker, path: Path) -> None:
    """Write the assertions of a type that had been observed at a cut, up to a marker, into a Parquet file.

    Event ids are integers in it if each of them is the usual text of one, for then labels fit events of either kind.

    Raises:
        LabelStoreUnavailable: as `begun`, or what is read is no text. LabelHistoryChanged: there are more or fewer than the marker says.
        StorageIoFailure: the file cannot be written.
    """
    found = None
    for ids in (pa.int64(), pa.string()):
        if found is None:
            with begun(address, reads=True) as connection:
                found = _write(connection, label_type, asof_us, marker, path, ids)
    if found != marker.assertions:
        raise LabelHistoryChanged(f"{marker.assertions} {label_type} labels below the cut were pinned, and now they are {found}.",
                                  path=address.text, fix="Assertions were removed or changed: ask the owner of the label store.")


def _asked(connection: PatientConnection, statement: LiteralString, label_type: str, asof_us: int,
           position: int = 0) -> list[dict[str, Any]]:
    return connection.execute(_as_of(statement, label_type, asof_us, position)).fetchall()


def _as_of(statement: LiteralString, label_type: str, asof_us: int, position: int) -> Composed:
    """A statement with what it asks for. `{as_of}` is the law of this module."""
    words = {"type": Literal(label_type), "cut": SQL("{}::timestamptz").format(Literal(format_instant(asof_us))),
             "position": Literal(position), "store_id": _STORE_ID}
    return SQL(statement).format(**words, as_of=_AS_OF.format(**words))


def _write(connection: PatientConnection, label_type: str, asof_us: int, marker: StoreMarker, path: Path, ids: pa.DataType) -> int | None:
    """Write the file with event ids of a kind, and count the rows; None if an event id is not of that kind."""
    schema = _SCHEMA.set(0, pa.field("event_id", ids))
    rows = 0
    try:
        with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1,
                              use_dictionary=["label_value", "source_type"]) as writer, \
                closing(_pieces(connection, label_type, asof_us, marker)) as pieces:
            for piece in pieces:
                table = _read(piece)
                if ids != pa.string() and (table := _with_numbers(table)) is None:
                    return None
                writer.write_table(table)
                rows += table.num_rows
    except OSError as wrong:
        raise StorageIoFailure(f"the {label_type} labels cannot be written to {path}: {wrong.strerror or wrong}.", path=str(path),
                               fix="Free space there, or set `work` in plane.yaml to a folder that can be written.") from wrong
    return rows


def _pieces(connection: PatientConnection, label_type: str, asof_us: int, marker: StoreMarker) -> Generator[bytearray]:
    """The rows as CSV, in pieces of whole rows, in the order in which the table has them."""
    connection.execute("SET LOCAL timezone = 'UTC'")
    connection.execute("SET LOCAL datestyle = 'ISO'")
    connection.execute("SET LOCAL synchronize_seqscans = off")
    connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")  # several would only wait for this one reader
    connection.execute("SET LOCAL statement_timeout = 0")  # the whole stream may take as long as it takes
    connection.patience_s = SILENCE_S
    statement = """COPY (SELECT event_id, label_value, observed_time, effective_time, source_type, label_assertion_id, supersedes
                   FROM label_assertions WHERE {as_of} AND position <= {position}) TO STDOUT (FORMAT csv)"""
    piece = bytearray()
    with connection.cursor() as cursor, cursor.copy(_as_of(statement, label_type, asof_us, marker.position)) as copy:
        for line in copy:  # the protocol sends whole rows
            piece += line
            if len(piece) >= _PIECE:
                yield piece
                piece = bytearray()
    if piece:
        yield piece


def _read(piece: bytearray) -> pa.Table:
    whole = pa.csv.ReadOptions(column_names=_SCHEMA.names, use_threads=False, block_size=len(piece))
    try:
        return pa.csv.read_csv(pa.BufferReader(pa.py_buffer(piece)), whole, _PARSE, _CONVERT)
    except pa.ArrowInvalid as wrong:
        raise LabelStoreUnavailable("the label store holds what is not text in UTF-8, or not an instant of the years 1 to 9999.",
                                    fix="Use a database with ENCODING 'UTF8', made by what `ofs label-store schema` prints.") from wrong


def _with_numbers(table: pa.Table) -> pa.Table | None:
    """The table with its event ids as integers; None if one of them is not the usual text of an integer."""
    texts = table.column("event_id")
    try:
        numbers = texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    return table.set_column(0, "event_id", numbers) if pc.all(pc.equal(numbers.cast(pa.string()), texts)).as_py() else None
