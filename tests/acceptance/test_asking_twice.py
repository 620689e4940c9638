"""What planning refuses before a run exists, and what one request name means over time."""

from datetime import timedelta

import pytest
from small_plane import START, chargebacks, make_plane

import offline_feature_plane as ofs
from offline_feature_plane.errors import LabelHistoryChanged, LabelTypeScopeUnresolved


@pytest.fixture
def small(tmp_path):
    """A fresh small plane."""
    return make_plane(tmp_path / "small")


def test_events_without_ids_can_have_no_labels(small):
    """Labels refer to events by id: a plan that needs labels refuses a table that maps none (`decisions.md` D14)."""
    del small.plane["events"]["transaction"]["id"]
    small.documents()
    with pytest.raises(LabelTypeScopeUnresolved, match=r"events\.transaction has no id column"):
        ofs.open(small.folder / "plane.yaml").plan(small.intent_path)


def test_a_named_request_outlives_a_growing_label_log(small):
    """A label log grows after the cut: the same request id still asks the same, and the answer says that the files changed.

    ──── labels ────│as-of│──── more labels ────▶   same meaning, same payload, same dataset
    """
    small.intent["request_id"] = "request-0001"
    small.documents()
    plane = ofs.open(small.folder / "plane.yaml")
    first = plane.build(small.intent_path)
    grown = chargebacks()
    grown["tx_id"].append(1)
    grown["reported_at"].append(START + timedelta(days=400))
    grown["outcome"].append("CHARGEBACK")
    small.labels(grown)
    again = ofs.open(small.folder / "plane.yaml").build(small.intent_path)
    assert again.outcome == "ALREADY_PUBLISHED"
    assert again.manifest == first.manifest
    assert any("labels are in another state" in notice for notice in again.notices)
    assert ofs.open(small.folder / "plane.yaml").build(small.intent_path, recompute=True).outcome == "REPRODUCED"


def test_an_edited_label_history_is_told_on_recomputing(small):
    """What was known at the as-of changed: computing again says so, and nothing is overwritten."""
    plane = ofs.open(small.folder / "plane.yaml")
    plane.build(small.intent_path)
    edited = chargebacks()
    edited["reported_at"][0] += timedelta(hours=1)
    small.labels(edited)
    with pytest.raises(LabelHistoryChanged):
        ofs.open(small.folder / "plane.yaml").build(small.intent_path, recompute=True)


def test_a_pinned_intent_tells_that_the_labels_are_in_other_files_now(small):
    """A pinned intent names the label log that was at hand; plan and build say if it is another one, and only then.

    pinned ──── labels grow or are edited ──── plan, build: "pinned with another state of the chargeback labels"
    """
    pinned = ofs.open(small.folder / "plane.yaml").pin(small.intent_path)
    small.intent_path.write_text(pinned.text)
    named = "pinned with another state of the chargeback labels"
    plane = ofs.open(small.folder / "plane.yaml")
    assert not [one for one in plane.plan(small.intent_path).plan.warnings if named in one]
    edited = chargebacks()
    edited["reported_at"][0] += timedelta(hours=1)
    small.labels(edited)
    plane = ofs.open(small.folder / "plane.yaml")
    assert len([one for one in plane.plan(small.intent_path).plan.warnings if named in one]) == 1
    assert plane.plan(small.intent_path).pins.dataset_fingerprint == pinned.fingerprint
    built = plane.build(small.intent_path)
    assert len([one for one in built.notices if named in one]) == 1
    assert built.outcome == "PUBLISHED"
    assert any(named in one for one in plane.build(small.intent_path).notices)
    small.labels(chargebacks())
    assert not [one for one in ofs.open(small.folder / "plane.yaml").plan(small.intent_path).plan.warnings if named in one]


def test_a_short_intent_speaks_of_the_labels_at_hand(small):
    """A short intent pins no label log: before its first dataset there is nothing that the labels could differ from."""
    edited = chargebacks()
    edited["reported_at"][0] += timedelta(hours=1)
    small.labels(edited)
    built = ofs.open(small.folder / "plane.yaml").build(small.intent_path)
    assert not [one for one in built.notices if "in other files" in one]
