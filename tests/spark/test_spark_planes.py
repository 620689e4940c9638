"""Whole planes whose engine is Spark: one dataset, one report of changed labels, labels from a database."""

import sys
from pathlib import Path

import pytest
from whole_worlds import DAY, HOUR, START, build, draw_world, open_world, text_of, write_rows

from offline_feature_plane.errors import LabelHistoryChanged

sys.path.insert(0, str(Path(__file__).parent.parent / "acceptance"))  # a plane whose labels are in PostgreSQL is theirs


def shaped(seed):
    """A world in which everything that shapes a dataset has a say: a combined target, marks, disjoint splits, sampling, a condition.

    ```
     day  0        1                  5  6          9          15
          ├────────[      train       )──[   test   )──────────● as-of
                                        mature until here ─┘
    ```
    """
    world = draw_world(seed, events=90)
    known = {"coverage": "0.01", "unlabeled": "negative_when_mature"}
    world.intent |= {
        "label": {"as_of": text_of(START + 15 * DAY), "maturity_days": 8, "immature": "mark", "conflicts": "1",
                  "rule": "source_precedence.v1", "combine": "fraud or not dispute",
                  "types": {"fraud": known | {"positive": ["FRAUD"]}, "dispute": known | {"positive": ["WON"], "negative": ["LOST"]}}},
        "splits": {"train": [text_of(START + DAY), text_of(START + 5 * DAY)], "test": [text_of(START + 6 * DAY), text_of(START + 9 * DAY)]},
        "disjoint_by": "amount", "sampling": {"seed": "s", "rates": {"negative": "0.6", "positive": "0.9"}},
        "where": "units > -7", "cold_rows": "mark"}
    world.intent.pop("labels", None)
    return world


def changed(world):
    """The same world, in which below the as-of a label about a payment has another value, another one is gone, and one is new."""
    world, fraud = world.copy(), world.labels
    ids = {row["tx_id"] for row in world.events["tx"]}
    known = [place for place, one in enumerate(fraud["fraud"]) if one["event"] in ids and one["effective"] <= START + 10 * DAY
             and one["supersedes"] is None and one["observed"] <= START + 10 * DAY]
    world.labels["fraud"][known[0]]["value"] = "OTHER"
    world.labels["dispute"].append({**world.labels["dispute"][0], "event": min(ids), "observed": START + 2 * DAY, "effective": START + HOUR,
                                    "id": "new", "supersedes": None})
    del world.labels["fraud"][known[1]]
    return world


def history_of(built, world, folder, **overrides):
    """What is said when a plane computes its dataset again from other labels."""
    for name, rows in world.labels.items():
        write_rows(folder / f"labels-{name}", world.types("label"), rows, "parquet", 1)
    plane = open_world(folder / "plane.yaml", **overrides)
    with pytest.raises(LabelHistoryChanged) as told:
        plane.build(folder / "intent.yaml", recompute=True)
    return {**told.value.describe(), "what": told.value.what.replace(built.manifest.dataset_manifest_id, "…")}


def test_a_plane_publishes_the_same_dataset(spark, tmp_path):
    """All that is said of a dataset, sketches of labels included, is what one machine says of it, and so is what changed in its labels."""
    world, ours = shaped(4), {"engine.name": "spark", "spark": spark}
    here, there = (build(world.write(tmp_path / name), **chosen) for name, chosen in (("local", {}), ("spark", ours)))
    assert there.manifest.core == here.manifest.core
    assert there.manifest.evidence.label_sketches == here.manifest.evidence.label_sketches
    assert there.manifest.evidence.model_dump_json().count("pyspark") == 1
    fates = here.manifest.core.row_accounting
    assert min(fates[name] for name in ("row", "earlier_split", "sampled_out", "outside_splits", "where")) > 0
    assert min(one.rows for one in here.manifest.core.splits) > 0
    expected = history_of(here, changed(world), tmp_path / "local")
    assert history_of(there, changed(world), tmp_path / "spark", **ours) == expected
    assert {name: [one[part] for part in ("appeared", "gone", "changed")] for name, one in expected["fields"]["changes"].items()} == {
        "dispute": [1, 0, 0], "fraud": [0, 1, 1]}


def test_labels_from_a_database(spark, postgres, tmp_path):
    """Labels that a build reads from PostgreSQL into its work folder are there for the tasks: the dataset is that of one machine."""
    from test_stored_labels import open_plane, stored_plane

    made = stored_plane(tmp_path / "plane", postgres)
    ours = {"engine.name": "spark", "spark": spark}
    there = open_plane(made, **ours).build(made.intent_path)
    assert there.outcome == "PUBLISHED"
    again = open_plane(made).build(made.intent_path, recompute=True)
    assert again.outcome == "REPRODUCED"
    assert there.manifest.core.labels["assertions_eligible"] > 40
    assert made.leftovers() == []
