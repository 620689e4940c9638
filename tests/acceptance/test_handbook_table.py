"""The handbook's table without its models: who leaves the test week, Card Precision, and the leak that is refused.

07-25     08-01     08-08     08-15     08-22
  [ train )── gap ───[ test )────────────┤ as-of
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from handbook_example import PROJECT, load_program
from handbook_world import START, make_world, write_world

from offline_feature_plane import OfsError

scoring, training_sets = load_program("scoring"), load_program("training_sets")

SLICE = PROJECT.parent / "shared" / "data" / "handbook" / "slice60"
SHIFT = START - int(datetime(2018, 6, 11, tzinfo=UTC).timestamp())  # whole weeks: both are Mondays


def rows(*said: tuple[str, str, int]) -> pd.DataFrame:
    """Rows of (instant, card, target)."""
    table = pd.DataFrame(said, columns=["ts", "card", "target"])
    return table.assign(ts=pd.to_datetime(table["ts"], utc=True, format="ISO8601"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world in the form of the handbook's data, on its days."""
    world = [replace(one, ts=one.ts - SHIFT, known=one.known - SHIFT) for one in make_world(1, anchors=120)]
    return write_world(world, tmp_path_factory.mktemp("world") / "data")


@pytest.fixture(scope="module")
def workshop(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Both planes over the small world."""
    return training_sets.open_workshop(data, tmp_path_factory.mktemp("out"))


def test_card_precision_by_hand() -> None:
    """Of two looks a day the share that finds a compromised card, a found card leaves, and the days are averaged.

    day 1: a .9 fraud, b .8, c .7 fraud       looks a b → 1 of 2; a leaves
    day 2: a .9 fraud, c .5 fraud, b .4, d .3 looks c b → 1 of 2; c leaves
    day 3: c .9 fraud                         no card is left → 0 of 2
    """
    test = rows(("2018-08-08 01:00", "a", 1), ("2018-08-08 02:00", "b", 0), ("2018-08-08 03:00", "c", 1), ("2018-08-08 23:59:59", "a", 0),
                ("2018-08-09", "a", 1), ("2018-08-09 01:00", "c", 1), ("2018-08-09 02:00", "b", 0), ("2018-08-09 03:00", "d", 0),
                ("2018-08-10", "c", 1))
    assert scoring.card_precision(test, [0.1, 0.8, 0.7, 0.9, 0.9, 0.5, 0.4, 0.3, 0.9], top=2) == pytest.approx((0.5 + 0.5 + 0) / 3)


def test_a_cards_score_is_its_highest_and_equal_scores_come_in_the_order_of_time() -> None:
    """A card counts as compromised by any of its transactions of the day, and of equal cards the first is looked at."""
    test = rows(("2018-08-08 01:00", "z", 1), ("2018-08-08 02:00", "a", 1), ("2018-08-08 03:00", "z", 0))
    assert scoring.card_precision(test, [0.1, 0.5, 0.5], top=1) == 1.0
    assert scoring.card_precision(test.assign(target=[0, 1, 0]), [0.1, 0.5, 0.5], top=1) == 0.0
    assert scoring.card_precision(test.iloc[:0], [], top=1) == 0.0


def test_a_customer_leaves_on_the_day_that_begins_with_the_fraud_known() -> None:
    """A fraud on day D − 8 or before removes its customer from day D on; one on D − 7 does not, and no label but a fraud does.

    fraud 08-01 23:59:59  ●──── 7 d ────▶ known 08-08 23:59:59 │ 08-09: gone
    fraud 08-02 00:00:00   ●──── 7 d ────▶ known 08-09 00:00:00   │ 08-10: gone
    """
    known = rows(("2018-08-01 23:59:59", "early", 1), ("2018-08-02", "late", 1), ("2018-07-25", "clean", 0))
    test = rows(*((f"2018-08-{day} 12:00", card, 0) for day in ("08", "09", "10") for card in ("early", "late", "clean")))
    left = scoring.remove_known(test, known)
    assert list(zip(left["ts"].dt.day, left["card"], strict=True)) == [
        (8, "early"), (8, "late"), (8, "clean"), (9, "late"), (9, "clean"), (10, "clean")]


def test_backdated_labels_are_refused_for_training(workshop: Any) -> None:
    """Labels that claim to be known at their event are refused with exit status 4, and no dataset of theirs is published."""
    refused = workshop.refusal()
    assert isinstance(refused, OfsError)
    assert (refused.code, refused.exit_status) == ("LABEL_LAG_IMPLAUSIBLE", 4)
    assert [one.dataset_manifest_id for one in workshop.backdated.datasets() if one.core.eligibility.training_ready] == []
    assert workshop.refusal().code == refused.code


def test_a_forced_leak_says_that_it_is_not_for_training(workshop: Any) -> None:
    """A dataset forced from backdated labels carries the failed gate and its purpose, and training is refused after it as before."""
    leak = workshop.leak()
    said = leak.manifest.core.eligibility
    assert not said.training_ready
    assert said.reasons == ["label_lag: LABEL_LAG_IMPLAUSIBLE", "built for a purpose other than training"]
    assert workshop.refusal().code == "LABEL_LAG_IMPLAUSIBLE"


def test_without_a_delay_honest_labels_still_do_not_leak(workshop: Any) -> None:
    """Terminal windows that reach up to the row hold no label before it was known; only backdated labels put the answer there.

    t−1d        t
      (─────────●   every event of the window is younger than the 7 days a label takes
    """
    hasty, leak = workshop.hasty_but_honest().to_pandas(), workshop.leak().to_pandas()
    assert hasty["terminal__nb_tx_1d"].sum() > 0
    assert hasty["terminal__risk_1d"].sum() == 0
    assert leak["terminal__risk_1d"].sum() > 0
    assert hasty["event_id"].tolist() == leak["event_id"].tolist()


def test_what_was_known_is_a_dataset_of_its_own(workshop: Any, data: Path) -> None:
    """The known frauds are those of the first training day on whose labels stood before the last test day, and tokens of cards agree."""
    known, table = workshop.known().to_pandas(), workshop.table().to_pandas()
    labels = pq.read_table(data / "labels.parquet").to_pandas().set_index("event_id")
    assert (labels.loc[known["event_id"], "label_ts_utc"].astype("datetime64[us, UTC]") <= pd.Timestamp("2018-08-14", tz="UTC")).all()
    assert set(known.loc[known["ts"] < table["ts"].max(), "card"]) & set(table["card"])
    customers = pq.read_table(data / "transactions.parquet").to_pandas().set_index("event_id")["customer_id"]
    both = pd.concat([known, table]).drop_duplicates("event_id")
    assert both.groupby("card")["event_id"].apply(lambda ids: customers[ids].nunique()).eq(1).all()
    assert both["card"].nunique() == customers[both["event_id"]].nunique()


@pytest.mark.skipif(not SLICE.is_dir(), reason="the handbook's data is not there: ../shared/data/handbook beside the project")
def test_the_weeks_are_the_published_ones(tmp_path: Path) -> None:
    """Both weeks have as many rows and frauds as the handbook's, after known customers were taken out of the test week."""
    workshop = training_sets.open_workshop(SLICE, tmp_path)
    dataset = workshop.table()
    train, test = dataset.to_pandas("train"), scoring.remove_known(dataset.to_pandas("test"), workshop.known().to_pandas())
    assert [(len(week), int(week["target"].sum())) for week in (train, test)] == [(67_240, 598), (58_264, 385)]


def test_a_folder_of_another_form_is_refused(tmp_path: Path) -> None:
    """Without the data nothing is written."""
    with pytest.raises(OfsError) as refused:
        training_sets.open_workshop(tmp_path / "none", tmp_path / "out")
    assert (refused.value.code, refused.value.exit_status) == ("REF_NOT_FOUND", 3)
    assert not (tmp_path / "out").exists()
