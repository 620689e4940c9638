"""The features that the handbook's authors published, rebuilt from their transactions and labels, value by value.

The data lies beside the project, not in it. Without it these tests are skipped; `test_published_features` holds the same laws always.

terminal window, delay 7 d           customer window
t−7d−w      t−7d          t          t−w                  t
  (───────────]           ●            (──────────────────●]      ( open, ] closed, ● the row
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from handbook_example import PROJECT, check_dataset, example

import offline_feature_plane as ofs

DATA = PROJECT.parent / "shared" / "data" / "handbook"
DAY_MS = 86_400_000
OTHER_ORDER = {"slice60": 2, "mini": 20}    # rows whose same-second pair was published in the other order
ALL_DAYS = 1_754_155
ROWS = {"slice60": 220_312, "mini": 35_087}
ON_BOUND = {                                # published rows with an event of the same entity exactly so many days before
    "slice60": {("customer", 1): 9, ("customer", 7): 6, ("customer", 30): 7,
                ("terminal", 7): 4, ("terminal", 8): 2, ("terminal", 14): 4, ("terminal", 37): 4},
    "mini": {("customer", 1): 5, ("customer", 7): 3, ("customer", 30): 4, ("terminal", 7): 23, ("terminal", 8): 17},
}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the handbook's data is not there: ../shared/data/handbook beside the project")


class Slice:
    """One folder of the data, the dataset built from it, and the comparison with what was published."""

    def __init__(self, name: str, out: Path) -> None:
        self.name, self.data, self.out = name, DATA / name, out
        self.dataset = example.build(self.data, out)
        self.comparison = example.compare(self.dataset, self.data)
        events = pq.read_table(self.data / "transactions.parquet")
        self.ids = events["event_id"].to_pylist()
        self.ts = dict(zip(self.ids, events["ts_utc"].cast("int64").to_pylist(), strict=True))
        self.at = {kind: Counter(zip(events[f"{kind}_id"].to_pylist(), self.ts.values(), strict=True)) for kind in ("customer", "terminal")}

    def table(self) -> dict[str, Any]:
        """The comparison by published name."""
        return {row.feature.published: row for row in self.comparison.features}


@pytest.fixture(scope="module", params=["slice60", "mini"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Slice:
    """Each folder, built once."""
    return Slice(request.param, tmp_path_factory.mktemp(request.param))


def read_csv(name: str) -> list[dict[str, str]]:
    """One of the lists beside the folders."""
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_only_ties_published_in_the_other_order_differ(built: Slice) -> None:
    """Counts, flags and risks are equal and averages within 1e-9 on every row but those of the pairs published with the higher id first."""
    swapped = [pair for pair in read_csv("customer_ties.csv") if pair["published_order"] == "high id first"]
    published = set(pq.read_table(built.data / "features_published.parquet")["event_id"].to_pylist())
    expected = {int(pair[side]) for pair in swapped for side in ("event_id_low", "event_id_high")} & published
    assert len(expected) == OTHER_ORDER[built.name]
    assert built.comparison.unexplained == []
    assert set(built.comparison.differing) == built.comparison.ties == expected


def test_every_published_value_was_compared(built: Slice) -> None:
    """No value is left out: flags on every row, and each feature on all rows where it is published, equal on all but the ties."""
    table = built.table()
    published = pq.read_table(built.data / "features_published.parquet")
    assert table["TX_DURING_WEEKEND"].rows == ROWS[built.name]
    assert {name: row.rows for name, row in table.items()} == {name: len(published) - published[name].null_count for name in table}
    for name, row in table.items():
        assert row.equal == row.rows - (OTHER_ORDER[built.name] if name.startswith("CUSTOMER") else 0), name
        assert row.largest_elsewhere <= (1e-9 if "AVG" in name else 0.0), name


def test_a_tie_differs_by_its_partner_only(built: Slice) -> None:
    """In a pair published in the other order the first by id misses its partner in all three windows, and the second has it."""
    pairs = {int(pair["event_id_low"]): int(pair["event_id_high"]) for pair in read_csv("customer_ties.csv")}
    lows = [event for event in built.comparison.differing if event in pairs]
    assert len(lows) * 2 == len(built.comparison.differing)
    for low in lows:
        for event, one_more in ((low, -1), (pairs[low], 1)):
            counts = [value.built - value.published for value in built.comparison.differing[event] if "__nb_tx_" in value.feature.column]
            assert counts == [one_more] * 3


def test_rows_with_an_event_exactly_on_a_bound_are_equal(built: Slice) -> None:
    """An event on the younger bound counts and one on the older bound does not, on every row where there is such an event."""
    published = pq.read_table(built.data / "features_published.parquet",
                              columns=["event_id", "CUSTOMER_ID_NB_TX_1DAY_WINDOW", "TERMINAL_ID_NB_TX_1DAY_WINDOW"])
    ids = published["event_id"].to_pylist()
    told = {kind: {event for event, value in zip(ids, published[f"{kind.upper()}_ID_NB_TX_1DAY_WINDOW"].to_pylist(), strict=True)
                   if value is not None} for kind in ("customer", "terminal")}
    checked: Counter[tuple[str, int]] = Counter()
    for hit in read_csv("boundary_hits.csv"):
        event, kind, entity, days = int(hit["event_id"]), hit["kind"], int(hit["entity"]), int(hit["offset_days"])
        if event in told[kind]:
            assert built.at[kind][entity, built.ts[event] - days * DAY_MS] > 0, f"{event} has no event {days} days before"
            wrong = [one for one in built.comparison.differing.get(event, ()) if one.feature.column.startswith(kind)]
            assert not wrong, f"{event}: {wrong}"
            checked[kind, days] += 1
    assert checked == ON_BOUND[built.name]


def test_the_dataset_is_whole(built: Slice) -> None:
    """Row accounting adds up, verification finds it intact, decimals load both ways, and four libraries read the same rows."""
    check_dataset(built.dataset, built.out, built.ids)


@pytest.mark.long
@pytest.mark.skipif(not (DATA / "full").is_dir(), reason="all 183 days of the handbook are not there: `full` beside its slices")
def test_all_183_days_are_the_published_ones(tmp_path: Path) -> None:
    """Of all 1,754,155 transactions every value of all 14 features is the published one, but for pairs of one second in the other order."""
    built = Slice("full", tmp_path)
    swapped = {int(pair[side]) for pair in read_csv("customer_ties.csv") if pair["published_order"] == "high id first"
               for side in ("event_id_low", "event_id_high")}
    assert len(built.ids) == len(built.dataset) == ALL_DAYS
    assert built.comparison.unexplained == []
    assert set(built.comparison.differing) <= swapped
    for name, row in built.table().items():
        assert row.rows == ALL_DAYS, name
        assert row.equal >= row.rows - (len(swapped) if name.startswith("CUSTOMER") else 0), name
        assert row.largest_elsewhere <= (1e-9 if "AVG" in name else 0.0), name


def test_a_delay_one_second_longer_shows(tmp_path: Path) -> None:
    """With a terminal delay of 7 days and a second, rows with an event exactly on a bound differ: the comparison can tell.

    t−7d−1s  t−7d
       ]──────┤   the event at t−7d is lost, the one at t−7d−w comes in
    """
    data = DATA / "mini"
    example.write_plane(data, tmp_path, as_of=example.midnight_after_last_label(data))
    profile = tmp_path / "features.yaml"
    assert profile.read_text().count("delay: 7d ") == 1
    profile.write_text(profile.read_text().replace("delay: 7d ", "delay: 604801s "))
    plane = ofs.open(tmp_path / "plane.yaml")
    dataset = plane.dataset(plane.build(tmp_path / "intent.yaml").manifest.dataset_manifest_id)
    wrong = example.compare(dataset, data).unexplained
    hits = {int(hit["event_id"]) for hit in read_csv("boundary_hits.csv") if hit["kind"] == "terminal"}
    published = pq.read_table(data / "features_published.parquet", columns=["event_id", "TERMINAL_ID_NB_TX_1DAY_WINDOW"]).drop_null()
    assert set(wrong) == hits & set(published["event_id"].to_pylist())
