"""What a column can never carry, and what an event must have: both engines refuse it with one code, and advise what can be done."""

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from two_engines import ask_both, field_task, label_task

from offline_feature_plane.domain.closure import Field
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.errors import EventSchemaMissingFields, NumericOverflow, SourceTypeMismatch
from offline_feature_plane.sources.files import TableMapping, pin_table

ENGINES = pytest.mark.parametrize("engine", [LocalEngine(), OracleEngine()], ids=lambda engine: engine.name)
UTC = pa.timestamp("us", "UTC")


def write(folder, **columns):
    """A table of one event a value, second by second, unless said otherwise."""
    n = len(next(iter(columns.values())))
    pq.write_table(pa.table({"id": pa.array(range(1, n + 1)), "at": pa.array(range(n), UTC)} | columns), folder / "tx.parquet")
    return {"tx": {"path": folder / "tx.parquet", "time": "at", "id": "id"}}


def refused(engine, folder, task, tables, error):
    """The error with which an engine refuses to read tables."""
    pinned = [pin_table(name, TableMapping(**mapping)) for name, mapping in tables.items()]
    with pytest.raises(error) as caught, engine.session(task, work=folder) as session:
        session.replay(pinned)
    return caught.value


@ENGINES
@pytest.mark.parametrize(("column", "kind", "advice"), [
    (pa.array([True]), "int64", "bool"), (pa.array([1.0]), "int64", "float64"), (pa.array([1.0]), "string", "float64"),
    (pa.array([1.0]), "bool", "float64"), (pa.array([b"a"]), "string", "Convert"), (pa.array([b"a"]), "int64", "Convert"),
    (pa.array([dt.date(2026, 1, 1)]), "timestamp", "first moment"), (pa.array([1]), "timestamp", "int64"),
    (pa.array([Decimal("1.5")]), "int64", "decimal"), (pa.array([0], UTC), "decimal(5,2)", "timestamp")])
def test_a_column_that_can_never_carry_a_field_is_refused_for_its_type(tmp_path, engine, column, kind, advice):
    """SOURCE_TYPE_MISMATCH, though a single value of it might do; the advice names what the column can carry, if there is anything."""
    field = Field("x", ColumnType.parse(kind), ("x",))
    wrong = refused(engine, tmp_path, field_task(field), write(tmp_path, x=column), SourceTypeMismatch)
    assert (wrong.code, wrong.path) == ("SOURCE_TYPE_MISMATCH", "x")
    assert advice in wrong.fix


@ENGINES
def test_a_column_of_nothing_but_nulls_carries_anything(tmp_path, engine):
    """A column of Arrow's null type is one whose values are all absent."""
    field = Field("x", ColumnType("int64"), ("x",))
    tables = write(tmp_path, x=pa.nulls(2))
    refused(engine, tmp_path, field_task(field), tables, EventSchemaMissingFields)
    assert "error" not in ask_both(tmp_path, field_task(Field("x", ColumnType("int64"), ("x",), nullable=True)), tables)


@ENGINES
def test_an_absent_id_or_time_is_advised_as_such(tmp_path, engine):
    """Nothing may stand in for the id or the time of an event, so nobody is told to declare it."""
    field = Field("x", ColumnType("int64"), ("x",))
    for column, kind, word in (("id", pa.int64(), "an id"), ("at", UTC, "a time")):
        wrong = refused(engine, tmp_path, field_task(field), write(
            tmp_path, x=pa.array([1, 2]), **{column: pa.array([1, None], kind)}), EventSchemaMissingFields)
        assert f"Give every event {word}" in wrong.fix
        assert "missing" not in wrong.fix
    wrong = refused(engine, tmp_path, field_task(field), write(tmp_path, x=pa.array([1, None])), EventSchemaMissingFields)
    assert "missing: null" in wrong.fix


@ENGINES
def test_an_id_beyond_int64_is_advised_to_be_text(tmp_path, engine):
    """There is no wider integer type to declare for an id."""
    field = Field("x", ColumnType("int64"), ("x",))
    tables = write(tmp_path, x=pa.array([1, 2]), id=pa.array([1, 2**63], pa.uint64()))
    wrong = refused(engine, tmp_path, field_task(field), tables, NumericOverflow)
    assert "Write the ids as text" in wrong.fix
    tables = write(tmp_path, x=pa.array([1, 2**63], pa.uint64()))
    assert "wider" in refused(engine, tmp_path, field_task(field), tables, NumericOverflow).fix


@pytest.mark.parametrize(("raw", "scale", "whole"), [
    (0.125, 2, "0.12"), (-0.125, 2, "-0.12"), (0.375, 2, "0.38"), (-0.375, 2, "-0.38"), (2.5, 0, "2"), (-2.5, 0, "-2"), (3.5, 0, "4"),
    (0.5, 0, "0"), (-1.5, 0, "-2"), (0.0625, 3, "0.062"), (1048576.5, 0, "1048576"), (0.005, 2, "0.01"), (0.015, 2, "0.01")])
def test_ties_of_floats_go_to_the_even_digit(tmp_path, raw, scale, whole):
    """Half-even of the exact binary value in both engines: 0.125 is a tie; 0.005 is a little more than its name, 0.015 a little less."""
    field = Field("x", ColumnType("decimal", 12, scale), ("x",), round="half_even")
    found = ask_both(tmp_path, field_task(field), write(tmp_path, x=pa.array([raw, 7.0])))
    assert found["rows"][0]["is_x"] == repr(Decimal(whole))


@pytest.mark.parametrize(("raw", "whole"), [
    ("0.005", "0.00"), ("-0.005", "0.00"), ("0.015", "0.02"), ("2.125", "2.12"), ("-2.135", "-2.14")])
def test_ties_of_decimals_go_to_the_even_digit(tmp_path, raw, whole):
    """The same law for decimals and for text, where every tie can be written."""
    field = Field("x", ColumnType("decimal", 12, 2), ("x",), round="half_even")
    for place, column in enumerate((pa.array([Decimal(raw)]), pa.array([raw]))):
        (tmp_path / str(place)).mkdir()
        found = ask_both(tmp_path / str(place), field_task(field), write(tmp_path / str(place), x=column))
        assert Decimal(found["rows"][0]["is_x"][9:-2]) == Decimal(whole)


@pytest.mark.parametrize(("lag_us", "min_lag", "sooner"), [
    (60_000_000, None, 1), (60_000_001, None, 0), (0, None, 1), (-1, None, 1),
    (3_600_000_000, "1h", 0), (3_599_999_999, "1h", 1), (0, "0s", 0)])
def test_a_label_is_prompt_up_to_sixty_seconds_inclusive(tmp_path, lag_us, min_lag, sooner):
    """Without a declared `min_lag` 60 s are still implausible and a µs more is not; a declared one is itself plausible (D26)."""
    tables = write(tmp_path, who=pa.array(["a"]), at=pa.array([1], UTC))
    pq.write_table(pa.table({"event": [1], "known": pa.array([1 + lag_us], UTC)}), tmp_path / "labels.parquet")
    labels = {"path": "labels.parquet", "event": "event", "observed": "known", "value": "FRAUD"} | ({"min_lag": min_lag} if min_lag else {})
    found = ask_both(tmp_path, label_task(), tables, labels)
    assert found["labels"]["per_type"]["fraud"]["observed_lag"]["sooner"] == sooner


def test_labels_in_structs_are_read_as_those_in_columns(tmp_path):
    """What lies inside of a struct says the same as a column would; where the struct is null it is missing."""
    tables = write(tmp_path, who=pa.array(["a", "b"]))
    flat = [{"event": 1, "known": 90_000_000, "said": "FRAUD", "case": "c1"},
            {"event": 2, "known": 80_000_000, "said": "FINE", "case": None}]
    schema = pa.schema([("event", pa.int64()), ("known", UTC), ("said", pa.string()), ("case", pa.string())])
    plain = pa.Table.from_pylist(flat, schema)
    pq.write_table(plain, tmp_path / "flat.parquet")
    pq.write_table(pa.table({"label": plain.to_struct_array()}), tmp_path / "nested.parquet")
    found = [ask_both(tmp_path, label_task(), tables, {
        "path": f"{name}.parquet", "event": f"{prefix}event", "observed": f"{prefix}known", "value": {"column": f"{prefix}said"},
        "id": f"{prefix}case"}) for name, prefix in (("flat", ""), ("nested", "label."))]
    assert found[0] == found[1]
    assert found[0]["labels"]["per_type"]["fraud"]["values"] == {"FINE": 1, "FRAUD": 1}


@pytest.mark.parametrize("kind", [pa.decimal32(5, 2), pa.decimal64(5, 2), pa.decimal128(5, 2), pa.decimal256(5, 2)], ids=str)
def test_decimals_of_every_width_are_read(tmp_path, kind):
    """How wide a file's decimals are changes neither a decimal nor a float64 field, nor what is refused of them."""
    tables = write(tmp_path, x=pa.array([Decimal("1.25"), Decimal("-0.50")], kind))
    wide, narrow = ColumnType("decimal", 9, 2), ColumnType("decimal", 9, 1)
    assert ask_both(tmp_path, field_task(Field("x", ColumnType("float64"), ("x",))), tables)["rows"][0]["is_x"] == "1.25"
    assert ask_both(tmp_path, field_task(Field("x", wide, ("x",))), tables)["rows"][1]["is_x"] == "Decimal('-0.50')"
    assert ask_both(tmp_path, field_task(Field("x", narrow, ("x",))), tables) == {"error": "REPLAY_EVENT_INVALID"}
