"""Odd but lawful data through the whole plane: both engines publish one content, and equal values in odd clothes give the usual one."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_plane import EVENT_SCHEMA, LABEL_SCHEMA, START, chargebacks, make_plane, transactions

from offline_feature_plane.plane import open_plane

TEXT_IDS = [pa.schema([("tx_id", pa.string()), *list(schema)[1:]]) for schema in (EVENT_SCHEMA, LABEL_SCHEMA)]
OLD, NEW = "e\u0301", "\u00e9"  # the same to a reader; the first is not composed


def build(plane, engine="local"):
    """The manifest that an engine publishes, from a store of its own; it verifies."""
    plane.documents()
    own = {name: str(plane.folder / engine / name) for name in ("store", "ledger", "work")}
    opened = open_plane(plane.folder / "plane.yaml", **{"engine.name": engine}, **own)
    manifest = opened.build(plane.intent_path).manifest
    assert opened.verify(manifest.dataset_manifest_id).intact
    return manifest


def agreed(plane):
    """The core that both engines publish."""
    local, oracle = build(plane), build(plane, "oracle")
    assert local.core == oracle.core
    return local.core


@pytest.fixture
def plane(tmp_path):
    """The small plane."""
    return make_plane(tmp_path / "odd")


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The content of the small plane as it is."""
    return build(make_plane(tmp_path_factory.mktemp("usual") / "p")).core.content_digest


def without_target(plane):
    """Ask for rows without a target."""
    plane.intent["label"] = {"type": "chargeback", "as_of": "2026-03-10T00:00:00Z", "maturity_days": 10, "target": "none"}


@pytest.mark.parametrize("name", [
    lambda number: f"{(NEW, OLD)[number % 2]}\U00010348{number}", lambda number: "" if number == 6 else str(number),
    lambda number: f"'; DROP TABLE x;--\n\t\"{number}", lambda number: f"a\0{number}", lambda number: "x" * 5_000 + str(number)],
    ids=["combining and astral", "one is empty", "quotes and line ends", "NUL", "long"])
def test_any_text_is_an_id(plane, name):
    """Ids are bytes to order and to join by: no text is special."""
    events, labels = transactions(), chargebacks()
    events["tx_id"], labels["tx_id"] = [name(one) for one in events["tx_id"]], [name(one) for one in labels["tx_id"]]
    plane.events(events, TEXT_IDS[0])
    plane.labels(labels, TEXT_IDS[1])
    assert sum(split.positive for split in agreed(plane).splits) == 33


@pytest.mark.parametrize("change", [
    {"amount": [Decimal("9999999999.99") * (-1) ** number for number in range(200)]}, {"customer_id": ["", "x"] * 100},
    {"customer_id": [OLD, "\u00e9"] * 100}, {"tx_time": [START + timedelta(days=5)] * 200},
    {"tx_time": [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), *transactions()["tx_time"][2:]]}],
    ids=["huge amounts", "empty names", "look-alike names", "one instant", "all of the calendar"])
def test_any_value_of_a_type_is_lawful(plane, change):
    """The ends of types and of the calendar, empty text, and ties of everything are data like other data."""
    plane.events(transactions() | change)
    plane.intent |= {"non_training_allowed": True, "splits": {"all": ["0001-01-01", "2026-02-20"]}}
    assert agreed(plane).row_count > 100


def test_label_values_are_kept_as_they_were_written(plane):
    """A label value that is not composed is counted and carried; receipts and manifest escape it where JSON cannot hold it."""
    labels = chargebacks()
    labels["outcome"][::2] = [OLD] * len(labels["outcome"][::2])
    plane.labels(labels)
    core = agreed(plane)
    assert core.labels["per_type"]["chargeback"]["values"].keys() == {"CHARGEBACK", "e\\u0301"}


def test_one_row_is_a_dataset(plane):
    """A table of one event gives a dataset of one row."""
    plane.events({name: values[:1] for name, values in transactions().items()})
    del plane.intent["splits"]
    without_target(plane)
    assert agreed(plane).row_count == 1


def test_rows_without_any_known_label(plane):
    """Without a target, labels that are all observed later leave rows without labels, not without rows."""
    labels = chargebacks()
    labels["reported_at"] = [datetime(2027, 1, 1, tzinfo=UTC)] * len(labels["tx_id"])
    plane.labels(labels)
    without_target(plane)
    core = agreed(plane)
    assert core.row_count > 100
    assert core.labels["assertions_eligible"] == 0


def test_windows_may_reach_beyond_history_and_conditions_may_hold_for_nothing(plane):
    """A window of a hundred years is the lifetime; a group whose condition never holds has empty windows."""
    customer = plane.profile["groups"]["customer"]
    customer["windows"] = ["36500d", "lifetime"]
    plane.profile["groups"]["nobody"] = customer | {"where": "amount < -99999"}
    core = agreed(plane)
    rows = open_plane(plane.folder / "plane.yaml", store=str(plane.folder / "local/store")).datasets()[0]
    table = open_plane(plane.folder / "plane.yaml", store=str(plane.folder / "local/store")).dataset(rows.dataset_manifest_id).to_arrow()
    assert core.row_count == len(table)
    assert table["customer__n_36500d"].equals(table["customer__n_lifetime"])
    assert set(table["nobody__n_lifetime"].to_pylist()) == {0}
    assert table["nobody__avg_lifetime"].null_count == len(table)


def test_null_keys_may_be_a_group(plane):
    """`null_key: group` counts events without a key together; the default leaves them out."""
    plane.events(transactions() | {"customer_id": [None if number % 3 else "x" for number in range(200)]})
    plane.profile["fields"]["customer_id"] = {"type": "string", "missing": None}
    plane.profile["groups"]["customer"]["null_key"] = "group"
    assert agreed(plane).row_count > 100


def test_five_hundred_features_and_chains_of_derived_columns(plane):
    """A profile of 500 columns builds, and derived columns may read derived columns."""
    plane.profile["groups"] = {f"g{number}": {"key": "customer_id" if number % 2 else "terminal_id",
                                              "windows": [f"{day}d" for day in range(1, 11)],
                                              "features": {"n": "count()", "a": "mean(amount)", "s": "sum(amount)",
                                                           "k": "distinct(terminal_id)",
                                                           "l": "seconds_since_last()"}} for number in range(10)}
    plane.profile["derived"] = {"a": "g1.a_7d / g1.n_7d", "b": "a * 2", "c": "b + a", "d": "coalesce(c, 0) > b"}
    plane.intent["splits"] = {"test": ["2026-02-01", "2026-02-03"]}
    assert sum(column.role == "feature" for column in agreed(plane).columns) == 504


# --- equal values in odd clothes ----------------------------------------------------------------------------


@pytest.mark.parametrize("types", [
    {"customer_id": pa.dictionary(pa.int32(), pa.string())}, {"customer_id": pa.large_string(), "terminal_id": pa.string_view()},
    {"amount": pa.decimal256(50, 4)}, {"amount": pa.decimal128(38, 20)}, {"tx_time": pa.timestamp("ns", "UTC")},
    {"tx_time": pa.timestamp("s", "Asia/Kathmandu")}, {"tx_id": pa.uint64()}, {"tx_id": pa.int16()}], ids=str)
def test_arrow_types_that_hold_the_same_values_are_the_same(plane, usual, types):
    """Dictionaries, wide texts, wide decimals, finer or zoned clocks, other widths of integers: one content."""
    columns = {name: pa.array(values, EVENT_SCHEMA.field(name).type) for name, values in transactions().items()}
    odd = {name: columns[name].dictionary_encode() if pa.types.is_dictionary(kind) else columns[name].cast(kind) for name,
           kind in types.items()}
    pq.write_table(pa.table(columns | odd | {"unused": pa.array([{"a": [1]}] * 200), "empty": pa.nulls(200)}),
                   plane.folder / "transactions.parquet")
    assert agreed(plane).content_digest == usual


def test_names_of_columns_are_only_names(plane, usual):
    """Columns named by keywords, quotes, dots and statements are read by exactly these names (R13)."""
    odd = {"tx_id": "select", "tx_time": 'from "where"', "customer_id": "cus'tomer; DROP", "terminal_id": "group", "amount": "a.b"}
    plane.events({odd[name]: values for name, values in transactions().items()},
                 pa.schema([(odd[one.name], one.type) for one in EVENT_SCHEMA]))
    plane.plane["events"]["transaction"] |= {"id": "select", "time": 'from "where"'}
    plane.profile["fields"] = {"customer_id": {"type": "string", "path": ["cus'tomer; DROP"]},
                               "terminal_id": {"type": "string", "path": "group"},
                               "amount": {"type": "decimal(12,2)", "path": "a.b"}}
    assert agreed(plane).content_digest == usual


@pytest.mark.parametrize("names", [
    ["a b.parquet", "it's.parquet", '"q".parquet', "'; DROP TABLE x; --.parquet", "x/y/z/\u00e9\u0301.parquet", "p=1/q=%20/r.parquet",
     "[glob]*?.parquet", "a\nb.parquet"], [f"d{number % 7}/e{number}/f.parquet" for number in range(100)]], ids=["hostile", "many"])
def test_names_and_number_of_files_are_no_content(plane, usual, names):
    """Spaces, quotes, globs, nested folders, and a hundred tiny files hold one table."""
    for number, name in enumerate(names):
        place = plane.folder / "data" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({column: values[number::len(names)] for column, values in transactions().items()}, schema=EVENT_SCHEMA),
                       place)
    plane.plane["events"]["transaction"]["path"] = "data"
    assert agreed(plane).content_digest == usual


def as_text(values):
    """One row as texts."""
    return [value.isoformat() if isinstance(value, datetime) else str(value) for value in values]


def test_every_dialect_of_csv_is_one_table(tmp_path):
    """A byte order mark, CRLF, quotes everywhere, blank lines, and no last line end change nothing."""
    columns = transactions()
    rows = [list(columns), *(as_text(row) for row in zip(*columns.values(), strict=True))]
    plain = "".join(",".join(row) + "\n" for row in rows)
    quoted = "".join(",".join(f'"{one}"' for one in row) + "\r\n" for row in rows)
    found = set()
    for number, text in enumerate((plain, "\ufeff" + quoted, plain.replace("\n", "\n\n"), plain.rstrip())):
        plane = make_plane(tmp_path / str(number))
        (plane.folder / "tx.csv").write_bytes(text.encode())
        plane.plane["events"]["transaction"]["path"] = "tx.csv"
        found.add(build(plane).core.content_digest)
    assert len(found) == 1


def test_json_lines_nest_and_keep_numbers_exactly(plane):
    """Values are found in nested objects, integers beyond every float are exact, and 1.00E2 is a hundred."""
    columns = transactions()
    lines = []
    for row in zip(*columns.values(), strict=True):
        one = dict(zip(columns, row, strict=True)) | {"tx_time": row[1].isoformat(), "amount": str(row[4])}
        one |= {"more": {"deep": {"n": 2**63 - 1 - one["tx_id"], "huge": 10**25}}}
        lines.append(json.dumps(one).replace('"amount": "1"', '"amount": 1.00E0') + "\r\n")
    (plane.folder / "tx.jsonl").write_text("".join(lines))
    plane.plane["events"]["transaction"]["path"] = "tx.jsonl"
    plane.profile["fields"]["n"] = {"type": "int64", "path": "more.deep.n"}
    plane.profile["row_features"] = {"left": "n - 9223372036854775000"}
    agreed(plane)
    opened = open_plane(plane.folder / "plane.yaml", store=str(plane.folder / "local/store"))
    table = opened.dataset(opened.datasets()[0].dataset_manifest_id).to_arrow()
    assert [row["left"] for row in table.to_pylist()] == [807 - row["event_id"] for row in table.to_pylist()]
