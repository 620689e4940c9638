"""The handbook's 14 features over small simulated worlds, held against a naive judge; and the example program's own manners.

terminal window, delay 7 d           customer window
t−7d−w      t−7d          t          t−w                  t
  (───────────]           ●            (──────────────────●]      ( open, ] closed, ● the row
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from handbook_example import PROGRAM, check_dataset, example
from handbook_world import CUSTOMER_BOUNDS, TERMINAL_BOUNDS, Payment, bound_hits, judge, make_world, publish, write_world

from offline_feature_plane import OfsError

SAME_SECOND = "event_id_low,event_id_high,published_order\n{},{},high id first\n"


class Built:
    """One world, its folder, and the dataset that the example makes of it."""

    def __init__(self, folder: Path) -> None:
        self.world = make_world(1)
        self.data, self.out = write_world(self.world, folder / "data"), folder / "out"
        self.dataset = example.build(self.data, self.out)

    def against(self, rows: list[dict[str, Any]], folder: Path) -> Any:
        """The comparison of the dataset with other published rows."""
        (folder / "other").mkdir()
        publish(rows, folder / "other")
        return example.compare(self.dataset, folder / "other")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The dataset of the first world."""
    return Built(tmp_path_factory.mktemp("world"))


def pair_in_one_second(world: list[Payment]) -> tuple[int, int]:
    """The ids of two payments that are the only ones of their customer in a second, the lower first."""
    seconds: dict[tuple[int, int], list[int]] = {}
    for one in world:
        seconds.setdefault((one.customer, one.ts), []).append(one.event_id)
    low, high = sorted(next(ids for _, ids in sorted(seconds.items()) if len(ids) == 2))
    return low, high


def swapped(rows: list[dict[str, Any]], pair: tuple[int, int]) -> list[dict[str, Any]]:
    """The rows as published by someone who put the pair in the other order: its counts change sides."""
    first, second = (next(row for row in rows if row["event_id"] == event) for event in pair)
    names = [name for name in first if name.startswith("CUSTOMER_ID_NB")]
    changed = {pair[0]: {name: second[name] for name in names}, pair[1]: {name: first[name] for name in names}}
    return [row | changed.get(row["event_id"], {}) for row in rows]


def check_world(world: list[Payment], folder: Path) -> None:
    """Build a world and find every value bit-equal to the judge's."""
    data = write_world(world, folder / "data")
    comparison = example.compare(example.build(data, folder / "out"), data)
    assert comparison.differing == {}
    assert [(row.rows, row.equal, row.largest) for row in comparison.features] == [(len(world), len(world), 0.0)] * 14


def test_the_world_holds_every_edge(built: Built) -> None:
    """The judged world has payments exactly on every bound, customers with several in a second, and rows of both values of each flag."""
    assert {bound: bound_hits(built.world, "customer", bound) >= 20 for bound in CUSTOMER_BOUNDS} == dict.fromkeys(CUSTOMER_BOUNDS, True)
    assert {bound: bound_hits(built.world, "terminal", bound) >= 20 for bound in TERMINAL_BOUNDS} == dict.fromkeys(TERMINAL_BOUNDS, True)
    seconds = [(one.customer, one.ts) for one in built.world]
    assert len(seconds) - len(set(seconds)) >= 20
    rows = judge(built.world)
    for name in rows[0]:
        assert len({row[name] for row in rows}) > 1, name


def test_every_value_equals_the_judges(built: Built) -> None:
    """All 14 features of all rows are bit-equal to the naive recomputation, averages included."""
    comparison = example.compare(built.dataset, built.data)
    assert comparison.differing == {}
    assert [(row.rows, row.equal, row.largest) for row in comparison.features] == [(len(built.world), len(built.world), 0.0)] * 14


@pytest.mark.parametrize("seed", [2, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 23))])
def test_other_worlds_agree_too(tmp_path: Path, seed: int) -> None:
    """Another seed is another world, and the judge agrees again."""
    check_world(make_world(seed, late_labels=seed % 2 == 1), tmp_path)


def test_a_fraud_counts_from_the_instant_its_label_is_known(tmp_path: Path) -> None:
    """Risk counts a fraud exactly from the second in which its label was known; one second earlier the payment counts, the fraud does not.

    event        event+7d   known
      ●─────────────┼─────────┼──────▶ t
                    │ counted │ counted, and a fraud
    """
    world = make_world(4, late_labels=True)
    assert judge(world) != judge([Payment(**(vars(one) | {"known": one.ts + 7 * 86_400})) for one in world])
    check_world(world, tmp_path)


@pytest.mark.parametrize("wrong", [{"older": int.__ge__}, {"younger": int.__lt__}], ids=["older bound closed", "younger bound open"])
def test_a_wrong_bound_would_show(built: Built, tmp_path: Path, wrong: dict[str, Any]) -> None:
    """A judge who moves a bound by its one point disagrees with the dataset in many rows, so agreement proves the bounds."""
    comparison = built.against(judge(built.world, **wrong), tmp_path)
    assert len(comparison.unexplained) >= 40
    counts = [row for row in comparison.features if row.feature.published.startswith("TERMINAL_ID_NB")]
    assert [row.equal <= row.rows - 10 for row in counts] == [True] * 3


def test_the_dataset_is_whole(built: Built) -> None:
    """Row accounting adds up, verification finds it intact, decimals load both ways, and four libraries read the same rows."""
    check_dataset(built.dataset, built.out, [one.event_id for one in built.world])


def test_a_listed_tie_may_differ_in_the_customers_features_only(built: Built, tmp_path: Path) -> None:
    """A pair published in the other order is excused by the list beside the data, and not without it, nor for another feature."""
    pair = pair_in_one_second(built.world)
    rows = swapped(judge(built.world), pair)
    comparison = built.against(rows, tmp_path)
    assert comparison.unexplained == sorted(pair)
    (tmp_path / "customer_ties.csv").write_text(SAME_SECOND.format(*pair))
    excused = example.compare(built.dataset, tmp_path / "other")
    assert excused.unexplained == []
    assert excused.ties == set(pair)
    assert [row.largest_elsewhere for row in excused.features] == [0.0] * 14
    publish([row | {"TERMINAL_ID_NB_TX_7DAY_WINDOW": row["TERMINAL_ID_NB_TX_7DAY_WINDOW"] + (row["event_id"] == pair[0])} for row in rows],
            tmp_path / "other")
    assert example.compare(built.dataset, tmp_path / "other").unexplained == [pair[0]]


def test_what_is_not_published_is_not_compared(built: Built, tmp_path: Path) -> None:
    """A null is skipped, a row left out is skipped, and a NaN is a value that differs."""
    rows = judge(built.world)
    rows[0]["TERMINAL_ID_RISK_7DAY_WINDOW"] = None
    rows[1]["TERMINAL_ID_RISK_30DAY_WINDOW"] = float("nan")
    comparison = built.against(rows[:-1], tmp_path)
    found = {row.feature.column: (row.rows, row.equal) for row in comparison.features}
    size = len(built.world) - 1
    assert found["terminal__risk_7d"] == (size - 1, size - 1)
    assert found["terminal__risk_30d"] == (size, size - 1)
    assert found["terminal__nb_tx_7d"] == (size, size)
    assert comparison.unexplained == [rows[1]["event_id"]]


@pytest.mark.parametrize(("name", "by", "seen"), [
    ("CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW", 9e-10, False), ("CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW", 2e-9, True),
    ("TERMINAL_ID_RISK_1DAY_WINDOW", 1e-12, True), ("TX_DURING_NIGHT", 1, True)])
def test_only_averages_have_a_tolerance(built: Built, tmp_path: Path, name: str, by: float, seen: bool) -> None:
    """An average may lie 1e-9 apart; every other value must be the same number."""
    rows = judge(built.world)
    rows[7][name] += by
    assert built.against(rows, tmp_path).unexplained == ([rows[7]["event_id"]] if seen else [])


def test_the_program_prints_the_table_and_says_what_differs(built: Built, tmp_path: Path) -> None:
    """The command exits 0 if all is equal and 1 if one value differs, and names the row, the value built and the value published."""
    data = shutil.copytree(built.data, tmp_path / "data")
    rows = judge(built.world)
    event, right = rows[5]["event_id"], rows[5]["CUSTOMER_ID_NB_TX_30DAY_WINDOW"]
    rows[5]["CUSTOMER_ID_NB_TX_30DAY_WINDOW"] = right + 1
    publish(rows, data)
    told = subprocess.run([sys.executable, PROGRAM, "--data", data, "--out", tmp_path / "out"], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (1, "")
    assert sum(f"{len(rows):,}" in line for line in told.stdout.splitlines()) >= 14
    assert f"{event}  NOT EXPLAINED: customer__nb_tx_30d {right} (published {right + 1})" in told.stdout
    last = max(one.known for one in built.world)
    assert f"as_of: {example.datetime.fromtimestamp((last // 86_400 + 1) * 86_400, tz=example.UTC):%Y-%m-%dT%H:%M:%SZ}\n" in \
        (tmp_path / "out/intent.yaml").read_text()


def test_the_same_folder_takes_another_build(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run over the same folders answers with the same dataset and status 0."""
    key = (built.out / "tokens.key").read_bytes()
    assert example.main(["--data", str(built.data), "--out", str(built.out)]) == 0
    assert built.dataset.id in capsys.readouterr().out
    assert (built.out / "tokens.key").read_bytes() == key


def drop(name: str, column: str) -> Any:
    """A change: one file without a column."""
    return lambda data: pq.write_table(pq.read_table(data / name).drop_columns([column]), data / name)


def recast(name: str, column: str, kind: pa.DataType) -> Any:
    """A change: one file with a column of another type."""
    def change(data: Path) -> None:
        table = pq.read_table(data / name)
        place = table.column_names.index(column)
        values = pc.cast(table[column].cast(pa.int64()) if pa.types.is_temporal(table[column].type) else table[column], kind)
        pq.write_table(table.set_column(place, column, values), data / name)
    return change


def cut(name: str) -> Any:
    """A change: one file without rows."""
    return lambda data: pq.write_table(pq.read_table(data / name).slice(0, 0), data / name)


def published(rows: int, **columns: Any) -> Any:
    """A change: the first published rows only, some columns replaced by one value."""
    def change(data: Path) -> None:
        table = pq.read_table(data / "features_published.parquet").slice(0, rows)
        publish([row | columns for row in table.to_pylist()], data)
    return change


FEATURES, LABELS, EVENTS = "features_published.parquet", "labels.parquet", "transactions.parquet"


@pytest.mark.parametrize(("change", "code", "status", "words"), [
    (shutil.rmtree, "REF_NOT_FOUND", 3, "is no folder"),
    (lambda data: (data / LABELS).unlink(), "REF_NOT_FOUND", 3, "labels.parquet"),
    (lambda data: (data / EVENTS).write_text("a,b\n"), "SOURCE_UNREADABLE", 3, "transactions.parquet"),
    (lambda data: (data / FEATURES).write_bytes((data / FEATURES).read_bytes()[:200]), "SOURCE_UNREADABLE", 3, "features_published"),
    (drop(EVENTS, "terminal_id"), "SOURCE_COLUMN_UNKNOWN", 2, "terminal_id"),
    (drop(LABELS, "is_fraud"), "SOURCE_COLUMN_UNKNOWN", 2, "is_fraud"),
    (drop(FEATURES, "TERMINAL_ID_RISK_7DAY_WINDOW"), "SOURCE_COLUMN_UNKNOWN", 2, "TERMINAL_ID_RISK_7DAY_WINDOW"),
    (recast(LABELS, "label_ts_utc", pa.string()), "SOURCE_TYPE_MISMATCH", 2, "label_ts_utc"),
    (recast(LABELS, "label_ts_utc", pa.timestamp("s", "UTC")), "SOURCE_TYPE_MISMATCH", 2, "calendar"),
    (cut(LABELS), "SOURCE_UNREADABLE", 3, "no label"),
])
def test_a_folder_of_another_form_is_refused(built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, code: str,
                                             status: int, words: str) -> None:
    """What is missing or of another kind is said in one line with a code and the family's exit status, before anything is built."""
    data = shutil.copytree(built.data, tmp_path / "data")
    change(data)
    assert example.main(["--data", str(data), "--out", str(tmp_path / "out")]) == status
    said = capsys.readouterr()
    assert said.err.startswith(f"error {code} ")
    assert words in said.err
    assert len(said.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("change", "code", "words"), [
    (cut(FEATURES), "SOURCE_UNREADABLE", "no value"),
    (published(2, event_id=5), "SOURCE_UNREADABLE", "twice"),
    (published(1, event_id=None), "SOURCE_UNREADABLE", "none"),
    (published(1, event_id=-1), "SOURCE_UNREADABLE", "no transactions"),
    (published(2, TX_DURING_NIGHT="yes"), "SOURCE_TYPE_MISMATCH", "TX_DURING_NIGHT"),
    (lambda data: (data.parent / "customer_ties.csv").write_text("a,b\n1,2\n"), "SOURCE_UNREADABLE", "customer_ties.csv"),
    (lambda data: (data.parent / "customer_ties.csv").write_text(SAME_SECOND.format("x", 2)), "SOURCE_UNREADABLE", "customer_ties.csv"),
])
def test_what_cannot_be_compared_is_refused(built: Built, tmp_path: Path, change: Any, code: str, words: str) -> None:
    """Published rows that name no transaction, one twice, or no number, and a list of ties that is none, are typed errors."""
    data = shutil.copytree(built.data, tmp_path / "data")
    change(data)
    with pytest.raises(OfsError, match=words) as refused:
        example.compare(built.dataset, data)
    assert refused.value.code == code


def test_the_out_folder_must_be_one(built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the way of `--out`, or the example's own folder, is refused before anything is written."""
    (tmp_path / "out").write_text("")
    assert example.main(["--data", str(built.data), "--out", str(tmp_path / "out")]) == 7
    assert "STORAGE_IO_FAILURE" in capsys.readouterr().err
    assert example.main(["--data", str(built.data), "--out", str(PROGRAM.parent)]) == 2
    assert "SETTINGS_INVALID" in capsys.readouterr().err
    assert "DATA/" in (PROGRAM.parent / "plane.yaml").read_text()
