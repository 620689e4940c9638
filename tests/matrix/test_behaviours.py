"""Behaviours of the validation matrix that only a whole plane shows."""

import json

import pytest
from small_plane import chargebacks, make_plane

from offline_feature_plane.domain.canonical import load_json
from offline_feature_plane.errors import BuildPlanImmutabilityViolation, OfsError
from offline_feature_plane.plane import open_plane


@pytest.fixture
def plane(tmp_path):
    """The small plane."""
    return make_plane(tmp_path / "p")


def opened(plane):
    """The plane, its documents as they are now."""
    plane.documents()
    return open_plane(plane.folder / "plane.yaml")


def table_of(plane, manifest):
    """The rows of a dataset by event id."""
    return {row["event_id"]: row for row in opened(plane).dataset(manifest.dataset_manifest_id).to_arrow().to_pylist()}


def test_planning_twice_gives_one_plan_and_writes_nothing(plane):
    """A plan is what the inputs say: the same pins and digest each time, and no trace on disk."""
    before = sorted(plane.folder.rglob("*"))
    one, two = opened(plane).plan(plane.intent_path), opened(plane).plan(plane.intent_path)
    assert (one.pins_digest, one.dm_id) == (two.pins_digest, two.dm_id)
    assert one.document()["pins"] == two.document()["pins"]
    assert one.plan.feasibility == "FEASIBLE"
    assert sorted(plane.folder.rglob("*")) == before


def test_an_edited_plan_is_no_plan_of_the_run(plane):
    """The pins stand before the work begins; other bytes in their place end the run, and nothing is published."""
    plane.intent["request_id"] = "request-0001"
    planned = opened(plane).plan(plane.intent_path)
    from offline_feature_plane.corridor.claims import submit
    run = submit(planned, opened(plane).ledger).run
    place = plane.folder / "store/cards/ofs/plans" / f"{run.run_key}.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(planned.document()["pins"] | {"filled": []}))
    with pytest.raises(BuildPlanImmutabilityViolation):
        opened(plane).build(plane.intent_path)
    assert plane.manifests() == []
    assert opened(plane).runs()[0].reason_code == "BUILD_PLAN_IMMUTABILITY_VIOLATION"


def test_each_row_carries_what_was_known_of_its_label(plane):
    """Value, status, instant and assertion of a label stand in its row; what was observed after the as-of does not.

    event 1 ──●
    reported      3 days later      as-of ┃
    reported                              ┃ a year later, about event 2
    """
    labels = chargebacks()
    labels = {"tx_id": [*labels["tx_id"], 32], "reported_at": [*labels["reported_at"], labels["reported_at"][0].replace(year=2027)],
              "outcome": [*labels["outcome"], "CHARGEBACK"]}
    plane.labels(labels)
    rows = table_of(plane, opened(plane).build(plane.intent_path).manifest)
    known = dict(zip(labels["tx_id"][:-1], labels["reported_at"][:-1], strict=True))
    for number, row in rows.items():
        if number in known:
            assert (row["chargeback__status"], row["chargeback__value"], row["target"]) == ("RESOLVED", "CHARGEBACK", 1)
            assert row["chargeback__observed_time"] == known[number]
        else:
            assert (row["chargeback__status"], row["chargeback__value"], row["target"]) == ("NOT_FOUND", None, 0)
    assert 32 in rows


def test_what_was_known_then_and_later_are_two_labelled_datasets(plane):
    """Another as-of is another dataset beside the first, and each says which instant its labels are of."""
    then = opened(plane).build(plane.intent_path).manifest
    plane.intent["label"]["as_of"] = "2026-03-20T00:00:00Z"
    later = opened(plane).build(plane.intent_path).manifest
    assert then.dataset_manifest_id != later.dataset_manifest_id
    assert [one.core.labels["label_asof_utc"] for one in (then, later)] == ["2026-03-10T00:00:00.000000Z", "2026-03-20T00:00:00.000000Z"]
    assert len(plane.manifests()) == 2


def test_a_backfill_is_another_dataset_that_leaves_the_old_one_readable(plane):
    """A correction has an identity of its own; the one that it supersedes stands and reads as before."""
    old = opened(plane).build(plane.intent_path).manifest
    rows = table_of(plane, old)
    plane.intent |= {"correction": "late chargebacks", "supersedes": old.dataset_manifest_id, "backfill_reason": "they came late"}
    new = opened(plane).build(plane.intent_path).manifest
    assert new.dataset_manifest_id != old.dataset_manifest_id
    assert new.core.content_digest == old.core.content_digest
    assert table_of(plane, old) == rows
    assert opened(plane).verify(old.dataset_manifest_id).intact
    links = list((plane.folder / "store/cards/ofs/supersession").rglob("*.json"))
    assert [(one.parent.name, one.stem) for one in links] == [(new.dataset_manifest_id, old.dataset_manifest_id)]
    assert load_json(links[0].read_bytes())["backfill_reason"] == "they came late"


@pytest.mark.parametrize("forged", [
    {"inputs": {"replay_events": [{"event_id": "x"}]}}, {"rows_digest": "sha256:" + "0" * 64}, {"draft": {"rows": []}},
    {"replay_evidence": {"status": "COMPLETE"}}, {"events": [{"tx_id": 1}]}])
@pytest.mark.parametrize("long", [False, True])
def test_a_request_carries_no_rows_and_no_evidence(plane, forged, long):
    """Events, labels, drafts and evidence are read and derived, never handed in: an intent with any of them is refused whole."""
    document = opened(plane).pin(plane.intent_path).document if long else dict(plane.intent)
    with pytest.raises(OfsError) as caught:
        opened(plane).build(document | forged)
    assert caught.value.family == "request"
    assert next(iter(forged)) in str(caught.value)
    assert plane.manifests() == []
    assert not (plane.folder / "ledger.sqlite").exists()


@pytest.mark.parametrize(("place", "value"), [("maturity_days", -1), ("as_of", "2026-03-10T00:00:00"), ("as_of", ""), ("coverage", "1.5"),
                                              ("conflicts", -0.1), ("rule", "newest_wins"), ("unlabeled", "negative"), ("positive", [])])
def test_policies_that_cannot_be_are_refused_where_they_stand(plane, place, value):
    """No negative maturity, no as-of without zone, no share beyond one, no rule or meaning that nobody knows."""
    plane.intent["label"][place] = value
    with pytest.raises(OfsError) as caught:
        opened(plane).plan(plane.intent_path)
    assert caught.value.family == "request"
    assert f"$.label.{place}" in str(caught.value)


def test_one_posture_per_run_and_a_code_that_is_told_everywhere(plane):
    """A refusal has one code: in the error, in the ledger, and in the receipts of the step and of the run."""
    plane.intent["label"] |= {"unlabeled": "refuse"}
    with pytest.raises(OfsError) as caught:
        opened(plane).build(plane.intent_path)
    run = opened(plane).runs()[0]
    receipts = [load_json(path.read_bytes()) for path in (plane.folder / "store/cards/ofs/receipts").rglob("*.json")]
    failed = [one for one in receipts if one.get("status") == "FAILED"]
    (last,) = [one for one in receipts if one["schema_version"] == "learning.ofs_failure_receipt.v1"]
    assert (run.state, run.reason_code) == ("FAILED", caught.value.code)
    assert [one["facts"]["error"]["code"] for one in failed] == [caught.value.code] == [last["error"]["code"]]
    commits = [load_json(path.read_bytes()) for path in (plane.folder / "store/cards/ofs/commits").rglob("*.json")]
    assert [(one["outcome"], one["code"]) for one in commits] == [("tombstone", caught.value.code)]


def test_a_dataset_is_not_loaded_by_a_misspelt_word(plane):
    """What is asked of a dataset is checked: a way to load decimals that does not exist, one text for a list, a split, a column."""
    dataset = opened(plane).dataset(opened(plane).build(plane.intent_path).manifest.dataset_manifest_id)
    for asked, code in (({"decimals": "exakt"}, "SCHEMA_INVALID"), ({"columns": "event_id"}, "SCHEMA_INVALID"),
                        ({"split": "trian"}, "DATASET_NOT_FOUND"), ({"columns": ["event_idd"]}, "SOURCE_COLUMN_UNKNOWN")):
        with pytest.raises(OfsError) as refused:
            dataset.to_arrow(**asked)
        assert refused.value.code == code
        assert refused.value.fix
