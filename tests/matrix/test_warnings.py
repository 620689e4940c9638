"""What a dataset says of itself although nothing is wrong: the warnings of its core (`decisions.md` D19, `domain.md` §6)."""

import pytest
from small_plane import make_plane

from offline_feature_plane.plane import open_plane


@pytest.fixture
def plane(tmp_path):
    """The small plane."""
    return make_plane(tmp_path / "p")


def core(plane, engine="local"):
    """The core that is published."""
    plane.documents()
    own = {name: str(plane.folder / engine / name) for name in ("store", "ledger", "work")}
    return open_plane(plane.folder / "plane.yaml", **{"engine.name": engine}, **own).build(plane.intent_path).manifest.core


@pytest.mark.parametrize("engine", ["local", "oracle"])
@pytest.mark.parametrize(("end", "rows", "warned"), [("2026-01-17", 40, False), ("2026-01-16T18:00:00Z", 39, True)])
def test_a_tenth_of_cold_rows_is_fine_and_more_is_told(plane, engine, end, rows, warned):
    """A split is warned of from over 10 % cold rows on: 4 of 40 are not, 4 of 39 are.

    first event            01-07        01-08 = first event + 7 d           end
        ●────────────────────├── 4 cold ──┼──────────── warm ────────────────┤

    A row every six hours; the deepest window is 7 d, and begins exactly at the first event for the row of 01-08.
    """
    plane.intent["splits"] = {"train": ["2026-01-07", end], "test": ["2026-02-01", "2026-02-20"]}
    found = core(plane, engine)
    train = next(split for split in found.splits if split.name == "train")
    assert (train.rows, train.cold) == (rows, 4)
    assert [one for one in found.warnings if "cold" in one] == (
        [f"4 of {rows} rows of split train are cold: their deepest window begins before the known history."] if warned else [])


@pytest.mark.parametrize("rule", ["exclude", "allow"])
def test_who_decided_about_cold_rows_is_not_warned_of_them(plane, rule):
    """Cold rows that were excluded or allowed are no news."""
    plane.intent["cold_rows"] = rule
    assert not [one for one in core(plane).warnings if "cold" in one]


@pytest.mark.parametrize("reading", ["labels", "no labels"])
def test_rows_beyond_the_as_of_are_told_where_features_look_at_labels(plane, reading):
    """Label features of a row after the as-of know less than they would online; without label features nothing is lost.

    ──── rows ────┃as-of──── rows ──▶
                  ┃ events of 02-15 06:00 to 02-19 18:00: 19
    """
    plane.intent["label"] |= {"as_of": "2026-02-15T00:00:00Z", "immature": "mark"}
    if reading == "no labels":
        del plane.profile["groups"]["terminal"]
    found = core(plane)
    assert next(split for split in found.splits if split.name == "test").rows == 76
    assert [one for one in found.warnings if "as-of" in one] == (
        ["19 rows lie after the label as-of: online, their label features would have known more."] if reading == "labels" else [])


@pytest.mark.parametrize("engine", ["local", "oracle"])
def test_a_value_that_no_known_label_has_is_told(plane, engine):
    """A positive or negative value that is said nowhere at the as-of is probably misspelt."""
    plane.intent["label"] |= {"positive": ["CHARGEBACK", "FRUAD"], "negative": ["NO_CHARGEBAK"]}
    assert [one for one in core(plane, engine).warnings if "says" in one] == [
        "no chargeback known at the as-of says FRUAD, which the target names.",
        "no chargeback known at the as-of says NO_CHARGEBAK, which the target names."]
    plane.intent["label"] = {key: value for key, value in plane.intent["label"].items() if key != "negative"} | {"positive": ["CHARGEBACK"]}
    assert not [one for one in core(plane, engine).warnings if "says" in one]
