"""A label store on PostgreSQL: what may be loaded, by whom, what is read as of a cut, and what a failing server comes to."""

import gzip
import json
import os
import signal
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psycopg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from postgres_server import APP, OWNER, PASSWORD, SECRETIVE
from wire import Wire

from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.errors import LabelHistoryChanged, LabelStoreUnavailable, OfsError
from offline_feature_plane.labelstores.incoming import find_incoming
from offline_feature_plane.labelstores.postgres import reading
from offline_feature_plane.labelstores.postgres.loading import load as load_incoming
from offline_feature_plane.labelstores.postgres.reading import measure, write_file
from offline_feature_plane.labelstores.postgres.schema import whole_script
from offline_feature_plane.postgres.address import address_from

NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)
CUT = parse_instant("2026-02-01T12:00:00Z")
COLUMNS = ("label_assertion_id", "label_type", "event_id", "label_value", "observed_time", "effective_time", "source_type", "actor_id",
           "supersedes", "evidence_ref")


@pytest.fixture
def store(postgres):
    """The address of an empty label store, as the loaders' role."""
    return postgres.new_label_store()


def one(number, **other):
    """An assertion, observed at noon unless said otherwise."""
    return {"label_assertion_id": f"a{number}", "label_type": "fraud", "event_id": str(number), "label_value": "FRAUD",
            "observed_time": NOON, "effective_time": NOON - timedelta(days=1), "source_type": "EXTERNAL", "actor_id": None,
            "supersedes": None, "evidence_ref": None} | other


def written(folder, rows, name="in.parquet"):
    """The rows in a file of the kind that its name shows."""
    path = folder / name
    texts = [{key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()} for row in rows]
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif "json" in name:
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in texts).encode()))
    else:
        pyarrow.csv.write_csv(pa.Table.from_pylist(texts), path)
    return path


def load(store, *paths):
    """Load files; what became of them."""
    return load_incoming(find_incoming(paths), address_from(store), lambda *_: None)


def stored(postgres, store):
    """What the store holds, in its order."""
    rows = postgres.sql(f"SELECT {', '.join(COLUMNS)} FROM label_assertions ORDER BY position", schema=address_from(store).schema)
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def read(store, folder, cut=CUT, marker=None):
    """What a build would read as of a cut."""
    address = address_from(store)
    write_file(address, "fraud", cut, marker or measure(address, ["fraud"], cut)["fraud"], folder / "out.parquet")
    return pq.read_table(folder / "out.parquet")


# --- loading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl.gz"])
def test_whatever_form_a_file_has_its_assertions_are_loaded_once(postgres, store, tmp_path, name):
    """Parquet, CSV and JSON Lines give the same rows, texts as they are; the same again, or more with them, appends only what is new."""
    rows = [one(1), one(2, label_value='said "no",\nthen — ❄', evidence_ref="case/17\\N"),
            one(3, source_type="HUMAN", actor_id="ana", supersedes="a2", event_id="2")]
    assert load(store, written(tmp_path, rows, name)).document() == {"rows": 3, "appended": 3, "known": 0, "position": 3}
    assert stored(postgres, store) == rows
    again = load(store, written(tmp_path, [*rows, one(4), one(4)], name))
    assert (again.rows, again.appended, again.known) == (5, 1, 4)
    assert stored(postgres, store) == [*rows, one(4)]


def test_a_label_holds_from_when_it_was_observed_unless_said_otherwise(postgres, store, tmp_path):
    """Without an effective time, or where it is missing, it is the observed one, as with a file timeline that maps none."""
    load(store, written(tmp_path, [one(1, effective_time=None), one(2)]), written(tmp_path, [{key: value for key, value in one(
        3).items() if key in {"label_assertion_id", "label_type", "event_id", "label_value", "observed_time", "source_type"}}], "b.csv"))
    assert [row["effective_time"] for row in stored(postgres, store)] == [NOON, NOON - timedelta(days=1), NOON]


def test_what_lies_in_structs_is_loaded_by_its_own_name(postgres, store, tmp_path):
    """Parquet structs of any depth are looked into; where a struct is null, so is what lies inside; two of one name are refused."""
    nested = [{"said": {"what": {"label_type": row["label_type"], "label_value": row["label_value"]}, "evidence_ref": row["evidence_ref"]},
               **{name: value for name, value in row.items() if name not in ("label_type", "label_value", "evidence_ref")}}
              for row in (one(1, evidence_ref="case/1"), one(2))]
    load(store, written(tmp_path, nested))
    assert stored(postgres, store) == [one(1, evidence_ref="case/1"), one(2)]
    with pytest.raises(OfsError, match="row 2, label_type: this is missing"):
        load(store, written(tmp_path, [nested[0], {**nested[1], "said": None}]))
    with pytest.raises(OfsError, match=r"'label_value' and 'said\.what\.label_value' are both called label_value"):
        load(store, written(tmp_path, [{**row, "label_value": "x"} for row in nested]))
    with pytest.raises(OfsError, match=r"no place for the column 'more\.colour'"):
        load(store, written(tmp_path, [one(3, more={"colour": "red"})]))


@pytest.mark.parametrize(("change", "code", "words"), [
    ({"label_assertion_id": None}, "SCHEMA_INVALID", "in.jsonl row 3, label_assertion_id: this is missing"),
    ({"label_assertion_id": "x" * 1_001}, "SCHEMA_INVALID", "row 3, label_assertion_id: an id has at most 1000 bytes, not 1,001"),
    ({"event_id": ""}, "SCHEMA_INVALID", "row 3, event_id: this is missing"),
    ({"label_value": True}, "SCHEMA_INVALID", "row 3, label_value: text is expected, not true"),
    ({"event_id": 1.5}, "SCHEMA_INVALID", "row 3, event_id: text is expected"),
    ({"event_id": "a\0b"}, "SCHEMA_INVALID", "row 3, event_id: a text holds no NUL"),
    ({"observed_time": "2026-01-01"}, "SCHEMA_INVALID", "row 3, observed_time: .* is a day"),
    ({"observed_time": "2026-01-01T00:00:00"}, "TIME_ZONE_UNDECLARED", "row 3, observed_time: .* no zone"),
    ({"effective_time": "2026-01-01T00:00:00.1234567Z"}, "SCHEMA_INVALID", "row 3, effective_time"),
    ({"observed_time": 5}, "SCHEMA_INVALID", "row 3, observed_time: a time with an offset is expected, not 5"),
    ({"source_type": "human"}, "LABEL_POLICY_INVALID", "row 3, source_type: 'human' is not a label source"),
    ({"source_type": "HUMAN"}, "LABEL_POLICY_INVALID", "row 3, actor_id: a HUMAN assertion names its actor"),
    ({"label_type": "two words"}, "LABEL_POLICY_INVALID", "row 3, label_type"),
    ({"supersedes": "a7"}, "LABEL_POLICY_INVALID", "row 3, supersedes: .* itself"),
    ({"supersedes": "a1"}, "LABEL_TIMELINE_INCONSISTENT", "'a7' in in.jsonl row 3 supersedes 'a1'"),
    ({"label_assertion_id": "a1"}, "LABEL_TIMELINE_INCONSISTENT", "'a1' in in.jsonl row 3 is another one in in.jsonl row 1"),
    ({"label_assertion_id": "a0"}, "LABEL_TIMELINE_INCONSISTENT", "'a0' in in.jsonl row 3 is another one in the store"),
    ({"evidence": "x"}, "SOURCE_COLUMN_UNKNOWN", "no place for the column 'evidence'"),
])
def test_one_bad_row_and_nothing_is_loaded(postgres, store, tmp_path, change, code, words):
    """A row that breaks a law is named by file, number and column with a stable code, and no row of any file is in the store."""
    load(store, written(tmp_path, [one(0)]))
    rows = [row | {key: str(row[key].isoformat()) for key in ("observed_time", "effective_time")} for row in (one(1), one(2), one(7))]
    rows[2] |= change
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(OfsError, match=words) as refused:
        load(store, written(tmp_path, [one(5)], "good.csv"), tmp_path / "in.jsonl")
    assert refused.value.code == code
    assert refused.value.exit_status in {2, 6}
    assert refused.value.fix
    assert stored(postgres, store) == [one(0)]


def test_one_id_on_every_row_is_told_at_once(store, tmp_path):
    """Each row is compared with the first of its id, not with every other: a constant id column costs no more than a sound one."""
    began = time.monotonic()
    with pytest.raises(OfsError, match="an id stands for two assertions") as refused:
        load(store, written(tmp_path, [one(n, label_assertion_id="same") for n in range(50_000)]))
    assert len(refused.value.fields["assertions"]) == 5
    assert time.monotonic() - began < 60


def test_all_bad_rows_are_told_in_their_order_up_to_twenty(store, tmp_path):
    """Problems of different columns stand in the order of the rows, and far too many are cut."""
    bad = [one(n, source_type="human" if n % 2 else "AUTO", label_value="" if n % 2 == 0 else "FRAUD") for n in range(300)]
    with pytest.raises(OfsError) as refused:
        load(store, written(tmp_path, bad))
    rows = [int(problem.path.partition("row ")[2].partition(",")[0]) for problem in refused.value.problems]
    assert rows == sorted(rows)
    assert len(rows) == 20


@pytest.mark.parametrize(("kind", "values", "said"), [
    (pa.timestamp("ns", "UTC"), [1, 1_000], "finer than a microsecond"), (pa.timestamp("s", "UTC"), [0, 10**12], "is not an instant"),
    (pa.timestamp("us"), [0, 1], "no zone"), (pa.int64(), [0, 1], "a time with an offset is expected"),
    (pa.date32(), [0, 1], "a time with an offset is expected")])
def test_times_that_are_no_instants_are_refused_as_columns_too(store, tmp_path, kind, values, said):
    """A Parquet column that is finer than a µs, out of range, without a zone, a number or a day: refused, never rounded."""
    table = pa.Table.from_pylist([one(1), one(2)])
    table = table.set_column(table.schema.get_field_index("observed_time"), "observed_time", pa.array(values, kind))
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(OfsError, match=r"row [12], observed_time") as refused:
        load(store, tmp_path / "in.parquet")
    assert said in str(refused.value)


# --- who may what -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", [
    "UPDATE label_assertions SET label_value = 'LEGIT'", "DELETE FROM label_assertions", "TRUNCATE label_assertions",
    "ALTER TABLE label_assertions DISABLE TRIGGER ALL", "DROP TABLE label_assertions", "UPDATE label_store SET version = 0",
    "INSERT INTO label_assertions (position, label_assertion_id) OVERRIDING SYSTEM VALUE VALUES (1, 'x')",
    "INSERT INTO label_assertions (recorded_at, label_assertion_id) VALUES ('2020-01-01Z', 'x')"])
def test_who_loads_can_only_append(postgres, store, tmp_path, statement):
    """The loaders' role changes and removes nothing, and neither position nor time of recording is its to say."""
    load(store, written(tmp_path, [one(1)]))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        postgres.sql(statement, user=APP, schema=address_from(store).schema)
    assert stored(postgres, store) == [one(1)]


@pytest.mark.parametrize("statement", ["UPDATE label_assertions SET label_value = 'LEGIT'", "DELETE FROM label_assertions",
                                       "TRUNCATE label_assertions"])
def test_not_even_the_owner_changes_an_assertion_by_a_plain_statement(postgres, store, tmp_path, statement):
    """What is recorded stays, whoever asks."""
    load(store, written(tmp_path, [one(1)]))
    with pytest.raises(psycopg.IntegrityError, match="never changed or removed"):
        postgres.sql(statement, user=OWNER, schema=address_from(store).schema)


def test_who_builds_can_only_read(postgres, tmp_path):
    """The readers' role reads as of a cut, and its load is refused with what to do."""
    schema = postgres.new_schema()
    postgres.sql(whole_script(schema, loader_role=APP, reader_role=SECRETIVE), user=OWNER)
    load(postgres.url(schema, user=APP), written(tmp_path, [one(1)]))
    url = postgres.url(schema, user=SECRETIVE) + f"&passfile={tmp_path / 'pass'}"
    (tmp_path / "pass").write_text(f"*:*:*:*:{PASSWORD}\n")
    (tmp_path / "pass").chmod(0o600)
    assert read(url, tmp_path).num_rows == 1
    with pytest.raises(LabelStoreUnavailable, match=r"may not do this.*permission denied") as refused:
        load(url, written(tmp_path, [one(2)]))
    assert "ofs label-store schema" in refused.value.fix


def test_positions_become_visible_in_their_order(postgres, store):
    """Two who append take turns, so that what is up to a position now is so for ever.

    ```
    first    BEGIN ─ a1 (position 1) ──────────── COMMIT
    second        BEGIN ─ a2 … waits ···················· (position 2) COMMIT
    reader               sees nothing: no position 2 without 1     ──▶ sees both
    ```
    """
    schema, told = address_from(store).schema, []
    insert = """INSERT INTO label_assertions
                (label_assertion_id, label_type, event_id, label_value, observed_time, effective_time, source_type)
                VALUES (%s, 'fraud', '1', 'FRAUD', '2026-01-01Z', '2026-01-01Z', 'AUTO') RETURNING label_assertion_id"""

    def append_second():
        with postgres.connection(user=APP, schema=schema) as connection:
            told.append(connection.execute(insert, ["a2"]).fetchone())

    with postgres.connection(user=APP, schema=schema) as connection, connection.transaction():
        connection.execute(insert, ["a1"])
        second = threading.Thread(target=append_second)
        second.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory'"
        deadline = time.monotonic() + 20
        while not postgres.sql(waits) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert postgres.sql(waits)
        with pytest.raises(LabelStoreUnavailable, match="holds no fraud assertion"):
            measure(address_from(store), ["fraud"], CUT)
    second.join(20)
    assert told == [("a2",)]
    assert [row["label_assertion_id"] for row in stored(postgres, store)] == ["a1", "a2"]


# --- reading ------------------------------------------------------------------------------------------------


def test_what_had_been_observed_at_the_cut_is_read_and_nothing_else(store, tmp_path):
    """Observed at the cut is in, a microsecond later is out; other types are out; what holds from later on is in, for the rules to judge.

    ```
    ───●───────────●│●──────▶ observed
      a1          a2│a3
    ```
    """
    tick = timedelta(microseconds=1)
    load(store, written(tmp_path, [one(1, observed_time=NOON - tick), one(2, effective_time=NOON + timedelta(days=9)),
                                   one(3, observed_time=NOON + tick), one(4, label_type="abuse")]))
    assert read(store, tmp_path)["label_assertion_id"].to_pylist() == ["a1", "a2"]
    assert measure(address_from(store), ["fraud"], CUT)["fraud"].assertions == 2


def test_everything_comes_back_as_it_was_loaded(store, tmp_path, monkeypatch):
    """Quotes, line ends, what looks like nothing, long texts, far instants: texts and microseconds are the ones that were loaded."""
    monkeypatch.setattr(reading, "_PIECE", 300)  # some rows a piece, and a row that is more
    texts = ["NULL", "\\N", '"', "a\nb", "a\r\nb", " x ", ",", "—❄", "''", "\\.", "\u00e9", "e\u0301", "x" * 100_000]
    moments = [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), NOON.replace(microsecond=100_000), NOON]
    rows = [one(n, label_assertion_id=f"{text[:900]}{n}", event_id=text, label_value=text, supersedes=None if n % 3 else f"{text}?",
                observed_time=moments[n % 4], effective_time=moments[-(n % 4)]) for n, text in enumerate(texts)]
    load(store, written(tmp_path, rows))
    found = read(store, tmp_path, cut=CUT + 100_000).to_pylist()
    assert found == [{name: row[name] for name in found[0]} for row in rows]


@pytest.mark.parametrize(("ids", "kind"), [
    (["1", "-5", "9223372036854775807"], pa.int64()), (["1", "05"], pa.string()), (["1", "+5"], pa.string()),
    (["1", "9223372036854775808"], pa.string()), (["1", "x"], pa.string())])
def test_event_ids_are_integers_where_all_of_them_are(store, tmp_path, monkeypatch, ids, kind):
    """Ids become integers only if each is the usual text of one, however late another one comes: `05` stays a text, for it is not 5."""
    monkeypatch.setattr(reading, "_PIECE", 1)  # a piece for each row
    load(store, written(tmp_path, [one(n, event_id=text) for n, text in enumerate(ids)]))
    table = read(store, tmp_path)
    assert table.schema.field("event_id").type == kind
    assert table["event_id"].cast(pa.string()).to_pylist() == ids


def test_what_is_appended_after_the_pin_is_not_read(store, tmp_path):
    """The pin is a position: a row that comes between pinning and reading is of the next pin, even below the cut."""
    load(store, written(tmp_path, [one(1)]))
    marker = measure(address_from(store), ["fraud"], CUT)["fraud"]
    load(store, written(tmp_path, [one(2)]))
    assert read(store, tmp_path, marker=marker).num_rows == 1


def test_types_are_pinned_at_one_moment(store, tmp_path, monkeypatch):
    """What one load brings about two types is pinned of both or of none, whenever it comes.

    ```
    pin      BEGIN ── fraud: 1 ──────────────── abuse: 1 ── END
    load                       a2 fraud, b2 abuse ┘
    ```
    """
    load(store, written(tmp_path, [one(1), one(2, label_type="abuse")]))
    later, asked = written(tmp_path, [one(3), one(4, label_type="abuse")], "later.csv"), reading._asked

    def interrupted(*arguments):
        rows = asked(*arguments)
        load(store, later)
        return rows
    monkeypatch.setattr(reading, "_asked", interrupted)
    pins = measure(address_from(store), ["fraud", "abuse"], CUT)
    assert {name: (pin.position, pin.assertions) for name, pin in pins.items()} == {"fraud": (1, 1), "abuse": (2, 1)}
    monkeypatch.undo()
    pins = measure(address_from(store), ["fraud", "abuse"], CUT)
    assert {name: (pin.position, pin.assertions) for name, pin in pins.items()} == {"fraud": (3, 2), "abuse": (4, 2)}


def test_rows_that_are_removed_between_pin_and_read_are_missed(postgres, store, tmp_path):
    """Whoever may do anything can also remove rows; then nothing is read, and the counts are told."""
    load(store, written(tmp_path, [one(1), one(2), one(3)]))
    marker = measure(address_from(store), ["fraud"], CUT)["fraud"]
    postgres.sql("SET session_replication_role = replica", "ALTER TABLE label_assertions DISABLE TRIGGER ALL",
                 "DELETE FROM label_assertions WHERE position = 2", schema=address_from(store).schema)
    with pytest.raises(LabelHistoryChanged, match="3 fraud labels below the cut were pinned, and now they are 2"):
        read(store, tmp_path, marker=marker)


def test_no_label_at_all_is_a_mistake_and_none_yet_is_not(store, tmp_path):
    """A type that the store has never seen is refused; one of which nothing was known at the cut has an empty timeline."""
    load(store, written(tmp_path, [one(1)]))
    with pytest.raises(LabelStoreUnavailable, match="holds no abuse assertion"):
        measure(address_from(store), ["abuse"], CUT)
    assert read(store, tmp_path, cut=CUT - 1).num_rows == 0


# --- what goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("statements", "code", "words"), [
    (["ALTER TABLE label_assertions RENAME TO elsewhere"], "LABEL_STORE_UNAVAILABLE", "there is no label store in the schema"),
    (["ALTER TABLE label_assertions RENAME COLUMN observed_time TO seen"], "SOURCE_COLUMN_UNKNOWN", "no column observed_time"),
    (["ALTER TABLE label_assertions DROP COLUMN observed_time", "ALTER TABLE label_assertions ADD observed_time text"],
     "SOURCE_TYPE_MISMATCH", r"observed_time .* is text"),
    (["ALTER TABLE label_assertions DROP COLUMN evidence_ref"], "SOURCE_COLUMN_UNKNOWN", "no column evidence_ref"),
    (["UPDATE label_store SET version = 9"], "LABEL_STORE_UNAVAILABLE", "has schema 9"),
    (["DELETE FROM label_store"], "LABEL_STORE_UNAVAILABLE", "has schema None"),
    ([f"REVOKE SELECT ON label_assertions FROM {APP}"], "LABEL_STORE_UNAVAILABLE", "permission denied"),
    ([f"REVOKE SELECT ON label_store FROM {APP}"], "LABEL_STORE_UNAVAILABLE", "permission denied"),
])
def test_what_is_not_our_table_is_not_taken_for_it(postgres, store, tmp_path, statements, code, words):
    """Another table, other columns or types, a newer store, a right that is missing: a stable code and an advice, for load and read."""
    load(store, written(tmp_path, [one(1)]))
    postgres.sql(*statements, user=OWNER, schema=address_from(store).schema)
    for attempt in (lambda: read(store, tmp_path), lambda: load(store, written(tmp_path, [one(2)]))):
        with pytest.raises(OfsError, match=words) as refused:
            attempt()
        assert (refused.value.code, bool(refused.value.fix)) == (code, True)


@pytest.mark.parametrize(("change", "words"), [
    (lambda url, host: url.replace("/postgres?", "/nowhere?"), "database does not exist"),
    (lambda url, host: url.replace(APP, "nobody"), "refuses the role"),
    (lambda url, host: url.replace(f"host={host}", "host=/nowhere"), "label store's server cannot be reached"),
    (lambda url, host: url.replace("schema=ofs_", "schema=no_such_"), "there is no label store in the schema no_such_")])
def test_a_server_that_cannot_be_used_is_told(postgres, store, change, words):
    """Wrong database, role, host or schema: LABEL_STORE_UNAVAILABLE, with what to do."""
    with pytest.raises(LabelStoreUnavailable, match=words) as refused:
        measure(address_from(change(store, postgres.host)), ["fraud"], CUT)
    assert refused.value.fix


def test_no_message_holds_a_password(postgres, store, monkeypatch):
    """A refused password is named by no message, cause or document."""
    monkeypatch.setenv("PGPASSWORD", "wrong-horse-battery")
    with pytest.raises(LabelStoreUnavailable, match="password authentication failed") as refused:
        measure(address_from(store.replace(APP, SECRETIVE)), ["fraud"], CUT)
    assert "wrong-horse" not in f"{refused.value} {refused.value.describe()} {refused.value.__cause__!r}"


def test_a_server_that_dies_while_it_is_read_is_told(postgres, store, tmp_path, monkeypatch):
    """The connection breaks after the first piece: LABEL_STORE_UNAVAILABLE, and the next attempt reads everything."""
    load(store, written(tmp_path, [one(n) for n in range(30_000)]))
    monkeypatch.setattr(reading, "_PIECE", 20_000)
    piece_read = reading._read

    def breaking(piece):
        postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{APP}'")
        return piece_read(piece)

    monkeypatch.setattr(reading, "_read", breaking)
    with pytest.raises(LabelStoreUnavailable, match="cannot be reached"):
        read(store, tmp_path)
    monkeypatch.setattr(reading, "_read", piece_read)
    assert read(store, tmp_path).num_rows == 30_000


def test_a_server_that_hangs_while_it_is_read_is_given_up(postgres, store, tmp_path, monkeypatch):
    """A session that stops sending: LABEL_STORE_UNAVAILABLE in bounded time, not for ever."""
    load(store, written(tmp_path, [one(n) for n in range(30_000)]))
    monkeypatch.setattr(reading, "_PIECE", 20_000)
    monkeypatch.setattr(reading, "SILENCE_S", 1.0)
    piece_read, stopped = reading._read, set()

    def hanging(piece):
        for (pid,) in postgres.sql(f"SELECT pid FROM pg_stat_activity WHERE usename = '{APP}'"):
            stopped.add(pid)
            os.kill(pid, signal.SIGSTOP)
        return piece_read(piece)

    monkeypatch.setattr(reading, "_read", hanging)
    began = time.monotonic()
    try:
        with pytest.raises(LabelStoreUnavailable, match="no answer within 1 s"):
            read(store, tmp_path)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert stopped
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("after", [False, True])
def test_a_load_that_is_cut_anywhere_is_all_or_nothing(postgres, store, tmp_path, after):
    """Cut at each message, before or after the server had it: the store holds all rows or none, and loading again ends with all."""
    path = written(tmp_path, [one(n) for n in range(50)])
    (tmp_path / "wire").mkdir()
    wire = Wire(postgres.host, tmp_path / "wire")
    try:
        number, was_cut = 0, True
        while was_cut:
            number += 1
            schema = postgres.new_schema()
            fresh = postgres.new_label_store(schema)
            wire.cut(number, after=after)
            with suppress(LabelStoreUnavailable):
                load(fresh.replace(f"host={postgres.host}", f"host={tmp_path / 'wire'}"), path)
            was_cut = wire.mend()
            assert len(stored(postgres, fresh)) in {0, 50}
            load(fresh, path)
            assert len(stored(postgres, fresh)) == 50
    finally:
        wire.close()
    assert number > 10


def test_the_script_can_be_run_again(postgres, store, tmp_path):
    """An upgrade script on a store of this release changes nothing, and who it is stays."""
    load(store, written(tmp_path, [one(1)]))
    schema = address_from(store).schema
    before = postgres.sql("SELECT * FROM label_store", schema=schema)
    postgres.sql(whole_script(schema), user=OWNER)
    assert postgres.sql("SELECT * FROM label_store", schema=schema) == before
    assert stored(postgres, store) == [one(1)]
