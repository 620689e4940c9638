"""What a model team receives: X, y, groups and weights by split, with nothing leaked, guessed or lost on the way."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_plane import SmallPlane, make_plane, transactions

import offline_feature_plane as ofs
from offline_feature_plane.arrow_types import decimal_array, decimals_as_floats
from offline_feature_plane.corridor.dataset import _as_float
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.plane import open_plane

ROW_FEATURES = {"paid": "amount", "customer": "customer_id", "shop": "shop", "night": "hour(ts) < 6", "at": "ts", "number": "number"}


def prepared(folder: Path) -> SmallPlane:
    """A plane whose rows have a number, a flag, a text with nulls, an instant, an entity and a long integer."""
    plane = make_plane(folder)
    columns = transactions()
    numbers = range(len(columns["tx_id"]))
    plane.events(columns | {"shop": [None if i % 13 == 0 else f"S{i % 3}" for i in numbers], "number": [2**53 + i for i in numbers]},
                 schema=None)
    plane.profile["fields"] |= {"shop": {"type": "string", "missing": None}, "number": "int64"}
    plane.profile["row_features"] = dict(ROW_FEATURES)
    plane.documents()
    return plane


@pytest.fixture(scope="module")
def dataset(session_folder: Path) -> ofs.Dataset:
    """Its dataset."""
    plane = prepared(session_folder / "hand_over")
    opened = open_plane(plane.folder / "plane.yaml")
    return opened.dataset(opened.build(plane.intent_path).manifest.dataset_manifest_id)


@pytest.fixture(scope="module")
def partly_known(session_folder: Path) -> ofs.Dataset:
    """One that keeps rows without a target, and is a sample."""
    plane = prepared(session_folder / "partly_known")
    plane.intent["label"] |= {"immature": "mark", "as_of": "2026-02-15T00:00:00Z", "unlabeled": "negative_when_mature"}
    plane.intent |= {"sampling": {"seed": "s", "rates": {"negative": "0.5"}}, "non_training_allowed": True}
    plane.documents()
    opened = open_plane(plane.folder / "plane.yaml")
    return opened.dataset(opened.build(plane.intent_path).manifest.dataset_manifest_id)


NUMBERS = ["customer__n_1d", "customer__n_7d", "customer__avg_1d", "customer__avg_7d", "terminal__risk_7d", "paid", "night"]
SPLITS = ("train", "test")


@pytest.mark.parametrize("split", SPLITS)
def test_features_and_target_are_the_rows_of_the_split(dataset: ofs.Dataset, split: str) -> None:
    """X has the features in float64 with NaN for null, y the target, row by row as Arrow has them; frame and matrix are equal."""
    rows = dataset.to_arrow(split, columns=[*NUMBERS, "target"]).to_pylist()
    frame = dataset.to_xy(split, features=NUMBERS)
    matrix = dataset.to_xy(split, features=NUMBERS, form="numpy")
    assert list(frame.X.columns) == NUMBERS
    assert set(frame.X.dtypes) == {np.dtype(np.float64)} == {matrix.X.dtype}
    assert matrix.X.shape == frame.X.shape == (len(rows), len(NUMBERS))
    for row, given, name_y in zip(rows, matrix.X.tolist(), frame.y.tolist(), strict=True):
        expected = [math.nan if row[name] is None else float(row[name]) for name in NUMBERS]
        assert given == pytest.approx(expected, abs=0, rel=0, nan_ok=True)
        assert name_y == row["target"]
    assert np.array_equal(frame.X.to_numpy(), matrix.X, equal_nan=True)
    assert (frame.y.dtype, frame.groups, frame.weight, frame.excluded) == (np.dtype(np.int8), None, None, 0)


def test_nothing_but_features_gets_into_x(dataset: ofs.Dataset) -> None:
    """By default X has every column of the role feature and no other: no id, instant of the row, label, target, split or mark."""
    features = [name for name in dataset.feature_names if name not in ("at", "number")]
    found = dataset.to_xy("train", features=features, text="category").X
    roles = {column.name: column.role for column in dataset.manifest.core.columns}
    assert {roles[name] for name in found.columns} == {"feature"}
    assert list(found.columns) == features


def test_entities_group_rows_and_are_no_feature(dataset: ofs.Dataset) -> None:
    """The column of groups is left out of X, and each row has the token of its own customer in every split."""
    every = [*NUMBERS, "shop"]
    for split in SPLITS:
        found = dataset.to_xy(split, groups="customer", features=every, text="category")
        assert found.groups is not None
        assert found.groups.tolist() == dataset.to_arrow(split)["customer"].to_pylist()
        assert "customer" not in found.X.columns
    with pytest.raises(ofs.OfsError, match=r"at \(timestamp\)") as refused:
        dataset.to_xy("train", groups="customer", text="category")  # of all features but the groups
    assert "customer" not in refused.value.what


def test_texts_become_the_same_categories_in_every_split(dataset: ofs.Dataset) -> None:
    """A text has one code wherever it is read, so that a model that learned codes in train meets the same ones in test."""
    train, test = (dataset.to_xy(split, features=["paid", "shop", "night"], text="category").X for split in SPLITS)
    assert list(train.columns) == ["paid", "shop", "night"]
    assert list(train["shop"].cat.categories) == list(test["shop"].cat.categories) == ["S0", "S1", "S2"]
    assert [None if value != value else value for value in train["shop"].tolist()] == dataset.to_arrow("train")["shop"].to_pylist()  # noqa: PLR0124 - NaN
    assert train["shop"].isna().any()


@pytest.mark.parametrize("form", ["pandas", "numpy"])
def test_batches_are_the_whole_in_pieces(partly_known: ofs.Dataset, form: Any) -> None:
    """What comes batch by batch is what comes at once: X, y, groups, weights and how many were excluded."""
    asked: dict[str, Any] = {"groups": "customer", "features": NUMBERS, "form": form, "unknown": "exclude"}
    for split in SPLITS:
        whole, pieces = partly_known.to_xy(split, **asked), list(partly_known.xy_batches(split, **asked))
        assert np.array_equal(np.concatenate([np.asarray(piece.X) for piece in pieces]), np.asarray(whole.X), equal_nan=True)
        for one in ("y", "groups", "weight"):
            assert np.array_equal(np.concatenate([getattr(piece, one) for piece in pieces]), getattr(whole, one))
        assert sum(piece.excluded for piece in pieces) == whole.excluded


def test_rows_without_a_target_are_counted(partly_known: ofs.Dataset) -> None:
    """Rows of which nobody knows the truth are refused with their number, or left out and counted; no row is lost in silence."""
    with pytest.raises(ofs.OfsError) as refused:
        partly_known.to_xy("test", features=NUMBERS)
    assert (refused.value.code, refused.value.exit_status) == ("COVERAGE_POLICY_VIOLATION", 4)
    found = partly_known.to_xy("test", features=NUMBERS, unknown="exclude")
    facts = next(split for split in partly_known.manifest.core.splits if split.name == "test")
    assert refused.value.fields["unknown"] == found.excluded == facts.unknown > 0
    assert len(found.X) == len(found.y) == facts.rows - facts.unknown
    assert (int((found.y == 1).sum()), int((found.y == 0).sum())) == (facts.positive, facts.negative)


def test_a_sample_carries_its_weights(partly_known: ofs.Dataset) -> None:
    """In a sample, each kept row stands for 1 ÷ its rate of rows."""
    found = partly_known.to_xy("train", features=NUMBERS)
    assert found.weight is not None
    assert found.weight.tolist() == [1.0 if truth else 2.0 for truth in found.y.tolist()]


Mistake = Callable[[ofs.Dataset], object]


@pytest.mark.parametrize(("ask", "code", "words"), [
    (lambda it: it.to_xy("trian"), "DATASET_NOT_FOUND", ("no split 'trian'", "train, test")),
    (lambda it: it.xy_batches("trian"), "DATASET_NOT_FOUND", ("no split 'trian'", "train, test")),
    (lambda it: it.to_duckdb("trian"), "DATASET_NOT_FOUND", ("no split 'trian'", "train, test")),
    (lambda it: it.to_xy("train", groups="customer_id"), "SOURCE_COLUMN_UNKNOWN", ("no column customer_id", "row_features")),
    (lambda it: it.to_xy("train", groups="shop", features=NUMBERS), "EVENT_SCHEMA_MISSING_FIELDS", ("have no shop",)),
    (lambda it: it.to_xy("train"), "SOURCE_TYPE_MISMATCH", ("customer (string), shop (string), at (timestamp)", 'text="category"')),
    (lambda it: it.to_xy("train", features=["shop"], text="category", form="numpy"), "SCHEMA_INVALID", ("shop", 'form="pandas"')),
    (lambda it: it.to_xy("train", features=["paid", "number"]), "NUMERIC_OVERFLOW", ("number has an integer beyond 2^53", "an id")),
    (lambda it: it.to_xy("train", features=["paid", "target"]), "TRUTH_FIELD_AS_FEATURE", ("target", "leak")),
    (lambda it: it.to_xy("train", features=["chargeback__value"]), "TRUTH_FIELD_AS_FEATURE", ("chargeback__value",)),
    (lambda it: it.to_xy("train", features=["event_id"]), "SOURCE_COLUMN_UNKNOWN", ("no feature event_id", "paid")),
    (lambda it: it.to_xy("train", features="paid"), "SCHEMA_INVALID", ("features=['paid']",)),
    (lambda it: it.to_xy("train", features=["paid"], form="torch"), "SCHEMA_INVALID", ('form="pandas" or form="numpy"',)),
    (lambda it: it.to_xy("train", features=["paid"], text="drop"), "SCHEMA_INVALID", ('text="refuse" or text="category"',)),
    (lambda it: it.to_xy("train", features=["paid"], unknown="drop"), "SCHEMA_INVALID", ('unknown="refuse" or unknown="exclude"',)),
], ids=["split", "split of batches", "split of DuckDB", "groups", "groups with nulls", "texts and instants", "categories of a matrix",
        "a long integer", "the target", "a label", "an id", "one name", "form", "text", "unknown"])
def test_what_cannot_be_handed_over_is_refused_by_name(dataset: ofs.Dataset, ask: Mistake, code: str, words: tuple[str, ...]) -> None:
    """A mistake gets a stable code, names what was wrong, and says what to do; nothing is read."""
    with pytest.raises(ofs.OfsError) as refused:
        ask(dataset)
    assert refused.value.code == code
    assert refused.value.fix
    for word in words:
        assert word in str(refused.value)


def test_without_a_target_there_is_no_y(place: Path) -> None:
    """A dataset whose intent predicts nothing is read as rows; X and y are refused."""
    plane = make_plane(place / "p")
    plane.intent["label"] = {"type": "chargeback", "as_of": "2026-03-10T00:00:00Z", "maturity_days": 10, "target": "none"}
    plane.documents()
    opened = open_plane(plane.folder / "plane.yaml")
    dataset = opened.dataset(opened.build(plane.intent_path).manifest.dataset_manifest_id)
    with pytest.raises(ofs.OfsError, match="has no target") as refused:
        dataset.to_xy("train")
    assert refused.value.code == "SOURCE_COLUMN_UNKNOWN"


def test_a_file_that_changes_while_it_is_read_is_noticed(place: Path) -> None:
    """X and y are never made of other bytes than the published ones: neither opened nor, once opened, read."""
    plane = make_plane(place / "p")
    opened = open_plane(plane.folder / "plane.yaml")
    dataset = opened.dataset(opened.build(plane.intent_path).manifest.dataset_manifest_id)
    (file,) = dataset.files
    raw, names = bytearray(file.read_bytes()), [column.name for column in dataset.manifest.core.columns]
    chunk = pq.read_metadata(file).row_group(0).column(names.index("customer__avg_1d"))
    raw[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(raw)
    with pytest.raises(ofs.OfsError) as refused:
        dataset.to_xy("train")
    assert (refused.value.code, refused.value.exit_status) == ("DIGEST_MISMATCH", 6)
    with pytest.raises(ofs.OfsError) as refused:
        opened.dataset(dataset.id)
    assert refused.value.code == "DIGEST_MISMATCH"


# --- DuckDB -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [None, *SPLITS])
def test_duckdb_reads_the_same_rows_again_and_again(dataset: ofs.Dataset, split: str | None) -> None:
    """A relation gives the rows that Arrow gives, in their order, as often as it is asked, on the user's own connection too."""
    for decimals in ("float", "exact"):
        expected = dataset.to_arrow(split, decimals=decimals)
        with duckdb.connect() as connection:
            relation = dataset.to_duckdb(split, connection=connection, decimals=decimals)
            for _ in range(2):
                assert relation.to_arrow_table().to_pylist() == expected.to_pylist()
            (counted,) = relation.aggregate("count(*)").fetchall()
            assert counted == (expected.num_rows,)
            assert connection.sql("SELECT max(paid) FROM relation").fetchall() == [(max(expected["paid"].to_pylist()),)]


@pytest.mark.parametrize(("precision", "scale"), [(18, 0), (18, 2), (18, 9), (18, 18), (12, 2), (3, 3)])
def test_decimals_are_the_same_floats_in_duckdb(precision: int, scale: int) -> None:
    """A decimal becomes the float that Arrow, pandas and Polars get, to the last bit and at the ends of its range."""
    kind, most = ColumnType("decimal", precision, scale), 10**precision
    numbers = np.random.default_rng(4).integers(-most + 1, most, 5_000)
    decimals = decimal_array(np.concatenate([numbers, [most - 1, 1 - most, 0, 1, -1]]), kind)
    found = duckdb.from_arrow(pa.table({"x": decimals})).project(_as_float("x", kind)).to_arrow_table()["x"]
    assert found.to_pylist() == decimals_as_floats(decimals).to_pylist()


def test_frames_need_pandas(dataset: ofs.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pandas is not installed, a matrix is given all the same, and a frame is refused with what to install."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert dataset.to_xy("train", features=NUMBERS, form="numpy").X.shape[1] == len(NUMBERS)
    with pytest.raises(ofs.OfsError, match="pandas is not installed") as refused:
        dataset.to_xy("train", features=NUMBERS)
    assert "offline-feature-plane[pandas]" in refused.value.fix
