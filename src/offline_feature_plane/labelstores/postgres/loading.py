"""Loading assertions into a label store on PostgreSQL: in one transaction, all of them or none, and as often as one likes.

files ──checked──▶ COPY ──▶ a table of this session ──compared with the store──▶ appended, in the order of the files
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import psycopg
import pyarrow as pa
import pyarrow.csv

from offline_feature_plane.errors import LabelStoreUnavailable, LabelTimelineInconsistent, OfsError
from offline_feature_plane.labelstores.incoming import Incoming
from offline_feature_plane.labelstores.postgres.snapshots import begun
from offline_feature_plane.ports import Progress
from offline_feature_plane.postgres.address import Address
from offline_feature_plane.postgres.connections import PatientConnection
from offline_feature_plane.postgres.failures import said

SHOWN: Final = 5  # of the assertions that stand in the way

_CSV: Final = pa.csv.WriteOptions(include_header=False)


@dataclass(frozen=True)
class Loaded:
    """What became of a load: rows of the files, how many were appended, how many the store had, and its last position now."""

    rows: int
    appended: int
    known: int
    position: int

    def document(self) -> dict[str, Any]:
        """As a JSON-ready document."""
        return asdict(self)


def load(incoming: Incoming, address: Address, progress: Progress) -> Loaded:
    """Append the assertions of some files that the store does not have yet.

    An assertion is known by its id: loading it again changes nothing, and an id with other content is refused.

    Raises:
        OfsError: a row is wrong (`Incoming.pieces`); nothing was loaded.
        LabelTimelineInconsistent: an id stands for another assertion in the store or in the files, or supersedes one about another subject.
        LabelStoreUnavailable, SourceColumnUnknown, SourceTypeMismatch: as `snapshots.begun`.
    """
    with begun(address, reads=False) as connection:
        _receive(connection, incoming, progress)
        progress("append", 0, 0)
        connection.execute("SET LOCAL lock_timeout = '600s'")  # others who load may take a while
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('ofs.labels.' || %(schema)s, 0))", {"schema": address.schema})
        _refuse_clashes(connection, incoming)
        appended = connection.execute("""
            INSERT INTO label_assertions (label_assertion_id, label_type, event_id, label_value, observed_time, effective_time, source_type,
                                          actor_id, supersedes, evidence_ref)
            SELECT label_assertion_id, label_type, event_id, label_value, observed_time, effective_time, source_type, actor_id, supersedes,
                   evidence_ref FROM pg_temp.incoming ORDER BY incoming.row ON CONFLICT (label_assertion_id) DO NOTHING""").rowcount
        _refuse_strange_links(connection, incoming)
        (last,) = connection.execute("SELECT coalesce(max(position), 0) AS position FROM label_assertions").fetchall()
        with _answered(address):
            connection.execute("COMMIT")
    return Loaded(incoming.rows, appended, incoming.rows - appended, last["position"])


def _receive(connection: PatientConnection, incoming: Incoming, progress: Progress) -> None:
    """The rows, checked, in a table of this session."""
    connection.execute("""CREATE TEMPORARY TABLE incoming (
        row bigint, label_assertion_id text COLLATE "C", label_type text COLLATE "C", event_id text COLLATE "C",
        label_value text COLLATE "C", observed_time timestamptz, source_type text COLLATE "C", effective_time timestamptz,
        actor_id text COLLATE "C", supersedes text COLLATE "C", evidence_ref text COLLATE "C") ON COMMIT DROP""")
    with connection.cursor() as cursor, cursor.copy("COPY pg_temp.incoming FROM STDIN (FORMAT csv)") as copy:
        done = 0
        for piece in incoming.pieces():
            text = pa.BufferOutputStream()
            pa.csv.write_csv(piece, text, _CSV)
            copy.write(text.getvalue().to_pybytes())
            done += piece.num_rows
            progress("load", done, incoming.rows)
    connection.execute("ANALYZE pg_temp.incoming")


def _refuse_clashes(connection: PatientConnection, incoming: Incoming) -> None:
    """An id is one assertion, for ever."""
    found = connection.execute("""
        SELECT incoming.row, label_assertion_id, NULL AS other
        FROM pg_temp.incoming JOIN label_assertions AS stored USING (label_assertion_id)
        WHERE (incoming.label_type, incoming.event_id, incoming.label_value, incoming.observed_time, incoming.effective_time,
               incoming.source_type, incoming.actor_id, incoming.supersedes, incoming.evidence_ref)
              IS DISTINCT FROM (stored.label_type, stored.event_id, stored.label_value, stored.observed_time, stored.effective_time,
                                stored.source_type, stored.actor_id, stored.supersedes, stored.evidence_ref)
        ORDER BY incoming.row LIMIT %(shown)s""", {"shown": SHOWN}).fetchall()
    found = found or connection.execute("""
        WITH first AS (SELECT DISTINCT ON (label_assertion_id) * FROM pg_temp.incoming ORDER BY label_assertion_id, incoming.row)
        SELECT second.row, label_assertion_id, first.row AS other
        FROM first JOIN pg_temp.incoming AS second USING (label_assertion_id)
        WHERE first.row < second.row
          AND (first.label_type, first.event_id, first.label_value, first.observed_time, first.effective_time, first.source_type,
               first.actor_id, first.supersedes, first.evidence_ref)
              IS DISTINCT FROM (second.label_type, second.event_id, second.label_value, second.observed_time, second.effective_time,
                                second.source_type, second.actor_id, second.supersedes, second.evidence_ref)
        ORDER BY second.row LIMIT %(shown)s""", {"shown": SHOWN}).fetchall()
    if found:
        told = "; ".join(f"{row['label_assertion_id']!r} in {incoming.place(row['row'])} is another one in "
                         f"{'the store' if row['other'] is None else incoming.place(row['other'])}" for row in found)
        raise _inconsistent(f"an id stands for two assertions: {told}.",
                            "Give every assertion its own id; a change is a new assertion that supersedes the old one.", found)


def _refuse_strange_links(connection: PatientConnection, incoming: Incoming) -> None:
    """What an assertion supersedes is about the same event and type; one that is not there yet may come later."""
    found = connection.execute("""
        SELECT incoming.row, incoming.label_assertion_id, incoming.supersedes
        FROM pg_temp.incoming JOIN label_assertions AS stored ON stored.label_assertion_id = incoming.supersedes
        WHERE (incoming.label_type, incoming.event_id) <> (stored.label_type, stored.event_id)
        ORDER BY incoming.row LIMIT %(shown)s""", {"shown": SHOWN}).fetchall()
    if found:
        told = "; ".join(f"{row['label_assertion_id']!r} in {incoming.place(row['row'])} supersedes {row['supersedes']!r}" for row in found)
        raise _inconsistent(f"an assertion supersedes one about another event or of another type: {told}.",
                            "Correct `supersedes` in these rows.", found)


def _inconsistent(what: str, fix: str, found: list[dict[str, Any]]) -> OfsError:
    return LabelTimelineInconsistent(what, fix=f"Nothing was loaded. {fix}", assertions=[row["label_assertion_id"] for row in found])


@contextmanager
def _answered(address: Address) -> Iterator[None]:
    """A commit that is not answered may have been made, or not."""
    try:
        yield
    except psycopg.Error as wrong:
        raise LabelStoreUnavailable(f"the server did not answer the commit, so whether the load was made is unknown ({said(wrong)}).",
                                    path=address.text, fix="Load the files again: what is there already is not loaded twice.",
                                    outcome="unknown") from wrong
