"""Reading plain tables: equal to the scalar law, one event per id, one total order."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.closure import Closure, Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.expressions import Compare, Expression, Name
from offline_feature_plane.domain.extraction import extract
from offline_feature_plane.domain.rows import LabelTask, Task
from offline_feature_plane.engines.local.connection import Database
from offline_feature_plane.engines.local.history.places import Memory
from offline_feature_plane.engines.local.history.storing import store_events
from offline_feature_plane.engines.local.sizes import fit
from offline_feature_plane.errors import (
    EngineFailed,
    EventSchemaMissingFields,
    NumericOverflow,
    OfsError,
    ReplayBasisMismatch,
    ReplayEventIdConflict,
    ReplayEventInvalid,
    ReplayEventsEmpty,
    SourceColumnUnknown,
    SourceTypeMismatch,
    TimeZoneUndeclared,
)
from offline_feature_plane.sources.files import TableMapping, pin_table

US = pa.timestamp("us", "UTC")


def task(*sources, where=None):
    """A task over some sources."""
    closure = Closure("p", "r", "s", "v1", sources, (), (), ())
    return Task("run1", (), closure, sources[0].name, where, (), LabelTask(0, "source_precedence.v1", ()), None, None, "mark", (), None)


def source(name="tx", /, **types):
    """A source whose fields are the columns of the same names."""
    return Source(name, (name,), tuple(Field(field, ColumnType.parse(kind), (field,)) for field, kind in types.items()))


def read_events(database, inputs, wanted):
    """All events of some inputs in memory, and what is told of them."""
    history, facts = store_events(database, inputs, wanted, Memory(), fit(wanted, 0, 10**9))
    return replace(history.window(0, history.n), ids=history.ids.slice(0, history.n)), facts


def read(tmp_path, tables, wanted):
    """Pin some tables and read them."""
    inputs = [pin_table(name, mapping) for name, mapping in tables.items()]
    with Database(Path(tmp_path), "500MB", 2) as database:
        return read_events(database, inputs, wanted)


def shown(events, source_name="tx"):
    """Events as plain rows: ts, id, and the values of every field of one source."""
    rows = []
    for row in range(events.n):
        values = {}
        for (owner, name), column in events.fields.items():
            if owner == source_name:
                known = column.valid is None or bool(column.valid[row])
                value = column.data[row].item()
                values[name] = None if not known else (column.dictionary[value].as_py() if column.dictionary is not None else value)
        rows.append((int(events.ts[row]), events.ids[row].as_py(), values))
    return rows


def table(path, **columns):
    """Write a Parquet file."""
    pq.write_table(pa.table(columns), path)
    return path


def instants(*us):
    """Instants from µs."""
    return pa.array(us, US)


TEXTS = st.sampled_from(["0", "7", "-3", "12.5", "12.50", "12.505", "-0.01", "999.99", "1000", "99999", "1e3", "nan", "true", "false",
                         "abc", "é", "", "300", "2026-01-01T00:00:00Z", "2026-01-01 00:00:00.5", "2026-02-30T00:00:00Z",
                         "2026-07-01T12:00:00+02:00", "2026-10-25T02:30:00", "9007199254740993"])
FLOATS = st.one_of(st.floats(), st.floats(-2000, 2000), st.sampled_from([2.675, 0.125, 0.375, -0.0, 1.005, 999.995, 999.985]))
RAW = {
    pa.string(): TEXTS, pa.float64(): FLOATS, pa.float32(): st.floats(width=32), pa.bool_(): st.booleans(),
    pa.int64(): st.one_of(st.integers(-2000, 2000), st.integers(-2**63, 2**63 - 1)), pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1), pa.decimal128(12, 3): st.decimals(-2000, 2000, places=3),
    US: st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),  # noqa: DTZ001 - put in
    pa.timestamp("ms"): st.datetimes(datetime(1990, 1, 1), datetime(2035, 1, 1)).map(lambda at: at.replace(microsecond=0)),  # noqa: DTZ001 - none
}
KINDS = ["bool", "int8", "int32", "int64", "float64", "decimal(5,2)", "decimal(18,4)", "decimal(3,0)", "string", "timestamp"]


CASES = (st.data(), st.sampled_from(list(RAW)), st.sampled_from(KINDS), st.sampled_from(["exact", "half_even"]),
         st.sampled_from([(False, None), (True, None), (False, "1")]), st.sampled_from(["UTC", "Europe/Paris"]))


@settings(max_examples=30, deadline=None)
@given(*CASES)
def test_fast_reading_agrees_with_the_scalar_law(data, arrow, kind, rounding, absence, zone):
    """A column reads as the scalar law reads its values one by one, or is refused as that law refuses its first offender."""
    hold_against_the_scalar_law(data, arrow, kind, rounding, absence, zone)


@pytest.mark.long
@settings(max_examples=1500, deadline=None)
@given(*CASES)
def test_fast_reading_agrees_with_the_scalar_law_in_many_cases(data, arrow, kind, rounding, absence, zone):
    """The same law over fifty times as many columns."""
    hold_against_the_scalar_law(data, arrow, kind, rounding, absence, zone)


def hold_against_the_scalar_law(data, arrow, kind, rounding, absence, zone):
    """Read one drawn column both ways."""
    values = data.draw(st.lists(st.one_of(st.none(), RAW[arrow]), min_size=1, max_size=6))
    field = Field("x", ColumnType.parse(kind), ("x",), nullable=absence[0], round=rounding,
                  missing=absence[1] if kind not in {"bool", "timestamp"} else None)
    column = pa.array(values, arrow)
    expected = []
    for value in column.to_pylist():
        try:
            expected.append(extract(value, field, zone))
        except OfsError as wrong:
            expected = type(wrong)
            break
    with TemporaryDirectory() as folder:
        path = table(Path(folder) / "a.parquet", id=list(range(len(values))), at=instants(*range(len(values))), x=column)
        mapping = {"tx": TableMapping(path, "at", "id", zone)}
        try:
            events, _ = read(folder, mapping, task(Source("tx", ("tx",), (field,))))
        except EngineFailed:
            raise
        except OfsError as wrong:
            found = type(wrong)
        else:
            found = [row[2]["x"] for row in shown(events)]
    if found is SourceTypeMismatch:  # such a column is refused for its type, even where no value is
        assert not isinstance(expected, list) or column.null_count == len(column)
    else:
        assert found == expected


ROWS = (st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 20), st.sampled_from(["a", "é", "z", "𐀀", "\uffff", None])),
                 min_size=1, max_size=25, unique_by=lambda row: row[1]), st.randoms(use_true_random=False), st.booleans())


@settings(max_examples=6, deadline=None)
@given(*ROWS)
def test_row_and_file_order_change_nothing(rows, random, as_text):
    """Events stand by (ts, id); integer ids compare as numbers, text ids by UTF-8 bytes; shuffling and repeating rows changes nothing.

    ts   0    0    0    1
    id  -2    9   10    3      as text: "-2" < "10" < "9"
    """
    hold_order(rows, random, as_text=as_text)


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(*ROWS)
def test_row_and_file_order_change_nothing_in_many_tables(rows, random, as_text):
    """The same law over fifty times as many tables."""
    hold_order(rows, random, as_text=as_text)


def hold_order(rows, random, *, as_text):
    """Read shuffled, repeated and cut rows, and compare with the sorted ones."""
    rows = [(ts, str(number) if as_text else number, name) for ts, number, name in rows]
    wanted = Source("tx", ("tx",), (Field("name", ColumnType("string"), ("name",), nullable=True),))
    expected = [(ts, number, {"name": name}) for ts, number, name in
                sorted(rows, key=lambda row: (row[0], row[1].encode() if as_text else row[1]))]
    kind = pa.string() if as_text else pa.int64()
    for times in (1, 2):
        shuffled = rows * times
        random.shuffle(shuffled)
        cut = random.randint(0, len(shuffled))
        with TemporaryDirectory() as folder:
            (Path(folder) / "data").mkdir()
            for name, part in (("a", shuffled[:cut]), ("b", shuffled[cut:])):
                table(Path(folder) / "data" / f"{name}.parquet", id=pa.array([row[1] for row in part], kind),
                      at=instants(*(row[0] for row in part)), name=pa.array([row[2] for row in part], pa.string()))
            events, facts = read(folder, {"tx": TableMapping(Path(folder) / "data", "at", "id")}, task(wanted))
        assert shown(events) == expected
        assert facts.events_read == len(shuffled) == facts.events_admitted + facts.dispositions.get("duplicate", 0)
        assert events.fields["tx", "name"].dictionary.to_pylist() == sorted({row[2] for row in rows} - {None}, key=str.encode)


def test_equal_rows_of_one_id_are_one_event_and_unlike_rows_a_conflict(tmp_path):
    """Content is every column of the file, also those that no feature uses; NaN equals itself."""
    columns = {"id": [5, 6, 5], "at": instants(1, 2, 1), "note": [float("nan")] * 3}
    same = table(tmp_path / "same.parquet", **columns)
    events, facts = read(tmp_path, {"tx": TableMapping(same, "at", "id")}, task(source()))
    assert (events.n, facts.dispositions) == (2, {"duplicate": 1})
    unlike = table(tmp_path / "unlike.parquet", **columns | {"unused": ["x", "x", "y"]})
    with pytest.raises(ReplayEventIdConflict, match=r"unused: 5"):
        read(tmp_path, {"tx": TableMapping(unlike, "at", "id")}, task(source()))


def test_equal_lines_of_one_id_are_one_event_and_unlike_ones_a_conflict(tmp_path):
    """Lines compare by value in every column: `1.50` is `1.5` and an absent key is null, but 1 is not true and order in a list counts."""
    lines = ['{"id": 5, "at": "1970-01-01T00:00:01Z", "x": 1.50, "y": null, "z": [1]}',
             '{"id": 5, "at": "1970-01-01T00:00:01Z", "x": 1.5, "z": [1]}']
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    _, facts = read(tmp_path, {"tx": TableMapping(path, "at", "id")}, task(source()))
    assert facts.dispositions == {"duplicate": 1}
    for change, column in (('"x": 1.51', "x"), ('"x": 1.5, "y": 0', "y"), ('"x": 1.5, "w": true', "w")):
        first = lines[0].replace('"x"', '"w": 1, "x"') if column == "w" else lines[0]
        path.write_text("\n".join([first, lines[1].replace('"x": 1.5', change)]))
        with pytest.raises(ReplayEventIdConflict, match=f"{column}: 5"):
            read(tmp_path, {"tx": TableMapping(path, "at", "id")}, task(source()))


@pytest.mark.parametrize(("columns", "types", "error", "count"), [
    ({"x": [1.0, float("nan"), float("inf")]}, {"x": "float64"}, ReplayEventInvalid, 2),
    ({"x": ["1", "1.5", "1.505"]}, {"x": "decimal(5,2)"}, ReplayEventInvalid, 1),
    ({"x": ["1", "1000", "1001"]}, {"x": "decimal(5,2)"}, NumericOverflow, 2),
    ({"x": ["1", None, "2"]}, {"x": "int64"}, EventSchemaMissingFields, 1),
    ({"x": ["a", None, None]}, {"x": "string"}, EventSchemaMissingFields, 2)])
def test_refused_values_are_counted_and_the_first_is_named(tmp_path, columns, types, error, count):
    """The error tells the column, how many rows are concerned, and the first row with its value."""
    path = table(tmp_path / "a.parquet", id=[1, 2, 3], at=instants(1, 2, 3), **columns)
    with pytest.raises(error) as caught:
        read(tmp_path, {"tx": TableMapping(path, "at", "id")}, task(source(**types)))
    assert (caught.value.path, caught.value.fields["count"]) == ("x", count)
    assert caught.value.fields["first"].startswith("a.parquet row ")


def test_columns_that_can_never_fit_or_do_not_exist_are_refused_by_their_type(tmp_path):
    """A float column is no integer field however round its values are; a misspelt path names the columns there are."""
    path = table(tmp_path / "a.parquet", id=[1], at=instants(1), x=[1.0], n=pa.array([1_000], pa.timestamp("ns")))
    mapping = {"tx": TableMapping(path, "at", "id")}
    for wanted, error in ((source(x="int64"), SourceTypeMismatch), (source(x="bool"), SourceTypeMismatch),
                          (source(y="int64"), SourceColumnUnknown), (source(n="timestamp"), TimeZoneUndeclared)):
        with pytest.raises(error):
            read(tmp_path, mapping, task(wanted))


def test_nanoseconds_below_a_microsecond_are_refused_and_whole_ones_read(tmp_path):
    """A timestamp keeps its instant exactly or is refused."""
    fine = table(tmp_path / "fine.parquet", id=[1], at=instants(1), x=pa.array([1_001], pa.timestamp("ns", "UTC")))
    with pytest.raises(ReplayEventInvalid, match="finer than a microsecond"):
        read(tmp_path, {"tx": TableMapping(fine, "at", "id")}, task(source(x="timestamp")))
    whole = table(tmp_path / "whole.parquet", id=[1], at=instants(1), x=pa.array([2_000], pa.timestamp("ns", "UTC")))
    assert shown(read(tmp_path, {"tx": TableMapping(whole, "at", "id")}, task(source(x="timestamp")))[0])[0][2] == {"x": 2}


def test_the_three_forms_of_one_table_give_the_same_events(tmp_path):
    """Parquet, CSV and JSON Lines differ in spelling only; text ids sort as text in each of them."""
    rows = [("t2", "2026-01-01T00:00:01Z", "c1", "10.50"), ("t1", "2026-01-01T00:00:01Z", "c2", "3"),
            ("t3", "2025-12-31T00:00:00Z", "c1", "-0.01")]
    (tmp_path / "a.csv").write_text("id,at,c,amount\n" + "".join(",".join(row) + "\n" for row in rows))
    lines = (f'{{"id": "{i}", "at": "{at}", "c": "{c}", "amount": {amount}}}\n' for i, at, c, amount in rows)
    (tmp_path / "a.jsonl").write_text("".join(lines))
    table(tmp_path / "a.parquet", id=[row[0] for row in rows], at=pa.array([row[1] for row in rows]).cast(US), c=[row[2] for row in rows],
          amount=pa.array([Decimal(row[3]) for row in rows], pa.decimal128(9, 2)))
    wanted = task(source(c="string", amount="decimal(9,2)"))
    found = [shown(read(tmp_path, {"tx": TableMapping(tmp_path / name, "at", "id")}, wanted)[0])
             for name in ("a.csv", "a.jsonl", "a.parquet")]
    assert found[0] == found[1] == found[2]
    assert [row[1] for row in found[0]] == ["t3", "t1", "t2"]
    assert [row[2]["amount"] for row in found[0]] == [-1, 300, 1050]


def test_json_paths_lead_into_nested_objects(tmp_path):
    """A field's path goes through objects; whatever is not there is absent."""
    lines = [{"id": 1, "at": "2026-01-01T00:00:00Z", "m": {"country": "FR"}}, {"id": 2, "at": "2026-01-02T00:00:00Z", "m": None}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    wanted = Source("tx", ("tx",), (Field("country", ColumnType("string"), ("m", "country"), missing="??"),))
    events, _ = read(tmp_path, {"tx": TableMapping(tmp_path / "a.jsonl", "at", "id")}, task(wanted))
    assert [row[2]["country"] for row in shown(events)] == ["FR", "??"]
    assert events.id_type == ColumnType("int64")


def test_several_sources_stand_in_one_order_and_share_the_dictionaries_of_equal_names(tmp_path):
    """One order over all sources: at one instant topics decide, then ids.

    ts      1        1        2
    topic   login    tx       tx
    """
    table(tmp_path / "tx.parquet", id=[1, 2], at=instants(2, 1), who=["a", "c"], n=[1, 2])
    table(tmp_path / "login.parquet", id=[1], at=instants(1), who=["b"], ok=[True])
    mapping = {name: TableMapping(tmp_path / f"{name}.parquet", "at", "id") for name in ("tx", "login")}
    events, _ = read(tmp_path, mapping, task(source(who="string", n="int64"), source("login", who="string", ok="bool")))
    assert [(int(ts), int(owner)) for ts, owner in zip(events.ts, events.source, strict=True)] == [(1, 1), (1, 0), (2, 0)]
    ours, theirs = events.fields["tx", "who"], events.fields["login", "who"]
    assert ours.dictionary.to_pylist() == theirs.dictionary.to_pylist() == ["a", "b", "c"]
    assert (ours.data.tolist(), theirs.data.tolist()) == ([-1, 2, 0], [1, -1, -1])
    assert events.fields["tx", "n"].valid.tolist() == [False, True, True]


def test_texts_that_an_expression_compares_share_a_dictionary(tmp_path):
    """Codes of compared columns compare as their texts do."""
    path = table(tmp_path / "a.parquet", id=[1, 2], at=instants(1, 2), a=["x", "b"], b=["a", "b"])
    text = ColumnType("string")
    where = Expression("a == b", Compare("==", Name("a", text), Name("b", text)))
    events, _ = read(tmp_path, {"tx": TableMapping(path, "at", "id")}, task(source(a="string", b="string"), where=where))
    assert (events.fields["tx", "a"].data == events.fields["tx", "b"].data).tolist() == [False, True]


def test_tables_without_id_get_ids_from_the_log_and_the_row(tmp_path):
    """`<log_id8>:<row>`, counted over the files in order; equal rows stay two events."""
    path = table(tmp_path / "a.parquet", at=instants(2, 2), x=[1, 1])
    pinned = pin_table("tx", TableMapping(path, "at"))
    events, facts = read(tmp_path, {"tx": TableMapping(path, "at")}, task(source(x="int64")))
    head = pinned.log_id.removeprefix("sha256:")[:8]
    assert events.ids.to_pylist() == [f"{head}:0", f"{head}:1"]
    assert facts.dispositions == {}


def test_types_that_no_source_of_the_profile_admits_are_other_scope(tmp_path):
    """A basis without any event of the profile's sources is refused; one with some counts the others."""
    table(tmp_path / "a.parquet", id=[1, 2], at=instants(1, 2))
    mapping = TableMapping(tmp_path / "a.parquet", "at", "id")
    with pytest.raises(ReplayEventsEmpty):
        read(tmp_path, {"noise": mapping}, task(source()))
    _, facts = read(tmp_path, {"noise": mapping, "tx": mapping}, task(source()))
    assert (facts.events_read, facts.events_admitted, facts.dispositions) == (4, 2, {"other_scope": 2})


def test_the_events_digest_follows_the_bytes(tmp_path):
    """Other bytes, other digest; the same files, the same digest."""
    path = table(tmp_path / "a.parquet", id=[1, 2], at=instants(1, 2))
    mapping = {"tx": TableMapping(path, "at", "id")}
    first = read(tmp_path, mapping, task(source()))[1].events_digest
    assert read(tmp_path, mapping, task(source()))[1].events_digest == first
    pinned = pin_table("tx", mapping["tx"])
    table(path, id=[1, 3], at=instants(1, 2))
    assert read(tmp_path, mapping, task(source()))[1].events_digest != first
    with Database(tmp_path) as database, pytest.raises(ReplayBasisMismatch):
        read_events(database, [pinned], task(source()))


def test_wall_clock_times_read_as_the_zone_says(tmp_path):
    """Every hour of three years in Paris, through six changes of offset, equals the scalar law."""
    local = np.arange(np.datetime64("2024-01-01T00:30"), np.datetime64("2027-01-01"), np.timedelta64(1, "h"))
    hours = pa.array(local.astype("datetime64[us]").astype(np.int64)).cast(pa.timestamp("us"))
    field = Field("at", ColumnType("timestamp"), ("at",))
    good, expected = [], []
    for row, value in enumerate(hours.to_pylist()):
        try:
            expected.append(extract(value, field, "Europe/Paris"))
            good.append(row)
        except ReplayEventInvalid:
            continue
    assert len(hours) - len(good) == 6
    path = table(tmp_path / "a.parquet", id=good, at=hours.take(pa.array(good)))
    events, _ = read(tmp_path, {"tx": TableMapping(path, "at", "id", "Europe/Paris")}, task(source()))
    assert events.ts.tolist() == expected
    table(path, id=list(range(len(hours))), at=hours)
    with pytest.raises(ReplayEventInvalid, match="6 rows"):
        read(tmp_path, {"tx": TableMapping(path, "at", "id", "Europe/Paris")}, task(source()))


def test_hostile_names_are_only_names(tmp_path):
    """Column names with quotes, semicolons and dots are data, never text of a query."""
    name = 'x"; DROP TABLE ofs_ids; --\'.'
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({name: ["b", "a"], "at": instants(1, 1)}), path)
    wanted = Source("tx", ("tx",), (replace(source(x="string").fields[0], path=(name,)),))
    events, _ = read(tmp_path, {"tx": TableMapping(path, "at", name)}, task(wanted))
    assert events.ids.to_pylist() == ["a", "b"]


NESTED = pa.struct([("country", pa.string()), ("place", pa.struct([("zip", pa.int32())]))])


def test_what_lies_in_a_struct_is_read_by_its_path(tmp_path):
    """A field's path leads into Parquet structs of any depth; where a struct is null, so is what lies inside."""
    path = table(tmp_path / "a.parquet", id=[1, 2, 3], at=instants(0, 1, 2),
                 shop=pa.array([{"country": "FR", "place": {"zip": 7}}, {"country": None, "place": None}, None], NESTED))
    wanted = Source("tx", ("tx",), (Field("country", ColumnType("string"), ("shop", "country"), nullable=True),
                                    Field("zip", ColumnType("int64"), ("shop", "place", "zip"), missing="-1")))
    events, _ = read(tmp_path, {"tx": TableMapping(path, "at", "id")}, task(wanted))
    assert [values for _, _, values in shown(events)] == [{"country": "FR", "zip": 7}, {"country": None, "zip": -1},
                                                          {"country": None, "zip": -1}]


def test_a_column_named_like_a_path_is_that_column(tmp_path):
    """Where a column is called `shop.country`, a struct's member of that path does not hide it."""
    path = table(tmp_path / "a.parquet", id=[1], at=instants(0), shop=pa.array([{"country": "inside", "place": None}], NESTED),
                 **{"shop.country": ["outside"]})
    wanted = Source("tx", ("tx",), (Field("country", ColumnType("string"), ("shop", "country")),))
    events, _ = read(tmp_path, {"tx": TableMapping(path, "at", "id")}, task(wanted))
    assert shown(events) == [(0, 1, {"country": "outside"})]


def test_a_path_that_leads_nowhere_names_what_is_there(tmp_path):
    """A member that no struct has is an unknown column, and the struct's own members are among the names that are told."""
    path = table(tmp_path / "a.parquet", id=[1], at=instants(0), shop=pa.array([{"country": "FR", "place": None}], NESTED))
    wanted = Source("tx", ("tx",), (Field("land", ColumnType("string"), ("shop", "land")),))
    with pytest.raises(SourceColumnUnknown, match=r"shop\.land.*shop\.country, shop\.place, shop\.place\.zip"):
        read(tmp_path, {"tx": TableMapping(path, "at", "id")}, task(wanted))


def test_time_and_id_may_lie_in_a_struct(tmp_path):
    """Also what every event has may stand inside of a struct."""
    kind = pa.struct([("id", pa.string()), ("at", US)])
    path = table(tmp_path / "a.parquet", meta=pa.array([{"id": "b", "at": 5}, {"id": "a", "at": 3}], kind), x=[1, 2])
    events, _ = read(tmp_path, {"tx": TableMapping(path, "meta.at", "meta.id")}, task(source(x="int64")))
    assert shown(events) == [(3, "a", {"x": 2}), (5, "b", {"x": 1})]


@pytest.mark.parametrize(("column", "kind", "advice"), [
    (pa.array([{"country": "FR", "place": None}], NESTED), "string", "path: x.country"),
    (pa.array([0], pa.date32()), "string", "2026-03-01"), (pa.array([0], pa.date32()), "timestamp", "not an instant")])
def test_a_type_that_no_field_has_is_told_what_to_do_with(tmp_path, column, kind, advice):
    """Of a struct one thing that lies inside is named, and a day is told to be written as text or as an instant."""
    path = table(tmp_path / "a.parquet", id=[1], at=instants(0), x=column)
    with pytest.raises(SourceTypeMismatch) as caught:
        read(tmp_path, {"tx": TableMapping(path, "at", "id")}, task(source(x=kind)))
    assert advice in caught.value.fix
