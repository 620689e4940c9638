"""`ofs labels`: how far the labels of an intent are, before anything is built (`domain.md` §1.7, `decisions.md` D24–D26).

The small plane: 200 payments over 50 days from 2026-01-01 on, one every six hours; a chargeback on every fifth, exactly three days later.

    01-01       01-03 ─ train ─ 01-25     02-01 ─ test ─ 02-20           02-28 as_of − 10 d    03-10 as_of
     ●────────────[──────────────)──────────[─────────────)──●────────────┤─────────────────────┤
                                                        last payment 02-19 18:00
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from answers import ask, check_answer
from small_plane import START, SmallPlane, chargebacks, make_plane

from offline_feature_plane.__main__ import run
from offline_feature_plane.errors import LabelPolicyInvalid
from offline_feature_plane.plane import open_plane


@pytest.fixture
def plane(place: Path) -> SmallPlane:
    """The small plane, not built."""
    return make_plane(place / "p")


def look(plane: SmallPlane, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """The answer as a document."""
    plane.documents()
    assert run(["labels", str(plane.intent_path), "--json", *options]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_cohorts_lags_and_gates_are_told(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Coverage by split and month, the lag in days, and every gate of a build, in the numbers that the build will have."""
    told = look(plane, capsys)
    (one,) = told["types"]
    lag = {"p50": 3, "p90": 3, "p99": 3}
    assert one["splits"] == [
        {"split": None, "from": None, "mature": True, "subjects": 36, "resolved": 7, "not_found": 29, "conflict": 0, "lag_days": lag,
         "answered": "1.000000"},
        {"split": "train", "from": None, "mature": True, "subjects": 88, "resolved": 18, "not_found": 70, "conflict": 0, "lag_days": lag,
         "answered": "1.000000"},
        {"split": "test", "from": None, "mature": True, "subjects": 76, "resolved": 15, "not_found": 61, "conflict": 0, "lag_days": lag,
         "answered": "1.000000"}]
    assert [(month["from"], month["split"], month["subjects"]) for month in one["periods"]] == [
        ("2026-01-01", None, 36), ("2026-01-01", "train", 88), ("2026-02-01", "test", 76)]
    assert (told["mature_until"], told["splits_end"]) == ("2026-02-28T00:00:00.000000Z", "2026-02-20T00:00:00.000000Z")
    assert {gate["gate"]: gate["verdict"] for gate in told["gates"]}["coverage"] == "PASS"
    manifest = open_plane(plane.folder / "plane.yaml").build(plane.intent_path).manifest
    core = json.loads(json.dumps(manifest.core.labels["per_type"]))["chargeback"]
    assert core["splits"] == [{name: value for name, value in split.items() if name != "answered"} for split in one["splits"][1:]]
    assert [month["subjects"] for month in core["months"]] == [88, 76]
    assert [gate.model_dump() for gate in manifest.core.gates] == [
        {name: value for name, value in gate.items() if name != "sentences"} for gate in told["gates"]]


def test_a_dataset_shows_the_labels_that_it_was_built_from(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """`ofs show` prints, for each type and split, how many events have which answer, and the days that answers took."""
    dataset = open_plane(plane.folder / "plane.yaml").build(plane.intent_path).manifest.dataset_manifest_id
    assert run(["show", dataset, "--plane", str(plane.folder / "plane.yaml")]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"label +split +mature +events +resolved +not found +conflict +resolved % +p50 d +p90 d +p99 d\n"
                     r"chargeback +train +yes +88 +18 +70 +0 +20\.45 % +3 +3 +3\n"
                     r"chargeback +test +yes +76 +15 +61 +0 +19\.73 % +3 +3 +3\n", shown)


def test_the_safe_as_of_is_that_of_the_contract(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """What is proposed is lawful, and one day less is not: the last end of a split, and the earliest as-of.

    ── test ──)────────── maturity ──────────┤ earliest as-of
    """
    for choice in look(plane, capsys, "--maturity", "17")["types"][0]["maturities"]:
        plane.intent["label"] |= {"maturity_days": choice["maturity_days"], "as_of": choice["earliest_asof"]}
        plane.documents()
        assert run(["plan", str(plane.intent_path)]) == 0
        plane.intent["label"]["maturity_days"] += 1
        plane.documents()
        check_answer(ask(capsys, "plan", str(plane.intent_path)), 4, "LEAKAGE_POLICY_VIOLATION", ("move the as-of to",))


def test_the_sentence_of_a_young_split_names_an_as_of_that_works(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A split beyond the maturity cut is refused with the instant to which the as-of must move, and with that the plan is lawful."""
    plane.intent["splits"]["test"] = ["2026-02-01", "2026-03-05"]
    plane.documents()
    said = ask(capsys, "labels", str(plane.intent_path))
    check_answer(said, 4, "LEAKAGE_POLICY_VIOLATION", ("move the as-of to 2026-03-15T00:00:00.000000Z",))
    plane.intent["label"]["as_of"] = "2026-03-15T00:00:00.000000Z"
    plane.documents()
    assert run(["labels", str(plane.intent_path)]) == 0


def test_every_engine_says_the_same(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever engine counts, the answer is one, by day too."""
    local = look(plane, capsys, "--by", "day")
    plane.plane["engine"] = {"name": "oracle"}
    assert look(plane, capsys, "--by", "day") == local
    assert len(local["types"][0]["periods"]) == 50


def test_slow_labels_are_measured_where_they_had_time_to_come(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Of young events only the quick labels are in: the points are measured over events that are older than the slow lags.

    ──● first event                                  ● last event   ┤ as_of
      every label is in: 1 … 40 days                 only quick labels are in
    """
    days = [1 + i * 7 % 40 for i in range(200)]
    plane.labels({"tx_id": list(range(1, 201)), "reported_at": [START + timedelta(hours=6 * i, days=lag) for i, lag in enumerate(days)],
                  "outcome": ["CHARGEBACK" if i % 5 else "FINE" for i in range(200)]})
    plane.intent["label"] |= {"as_of": "2026-03-10T00:00:00Z", "maturity_days": 5}
    told = look(plane, capsys)
    (one,) = told["types"]
    old = sorted(days[:4 * (68 - 40)])  # the as-of is 68 days after the first event
    assert one["measured"] == {"answers": 112, "p50": old[55], "p90": old[100], "p99": old[110], "settled": True}
    assert (one["measured"]["p50"], one["lag_days"]["p50"]) == (20, 18)
    plane.intent["splits"] = {}
    plane.intent["label"] |= {"as_of": "2026-02-05T00:00:00Z"}
    assert look(plane, capsys)["types"][0]["measured"]["settled"] is False
    late = sum(lag > 5 for lag in old)
    assert (f"maturity_days 5 is short: {late} of 112 chargeback labels came later, and until then silence is taken for a negative."
            in told["warnings"])


def test_labels_about_other_events_are_counted_and_told(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Assertions about events outside the basis decide nothing, and are told; those after the as-of, and repeated ones, are counted too."""
    told = chargebacks()
    plane.labels({"tx_id": [*told["tx_id"], 9_001, 9_002, 1, 6], "outcome": [*told["outcome"], *["CHARGEBACK"] * 4],
                  "reported_at": [*told["reported_at"], *[START] * 2, told["reported_at"][0], START + timedelta(days=300)]})
    found = look(plane, capsys)
    counts = found["types"][0]["assertions"]
    assert {name.removeprefix("assertions_"): counts[name] for name in counts if name.startswith("assertions_")} == {
        "read": 44, "outside_basis": 2, "after_asof": 1, "eligible": 40, "repeated": 1}
    assert "2 of 44 chargeback assertions are about events that are not in the basis." in found["warnings"]
    assert run(["labels", str(plane.intent_path)]) == 0
    assert "44 read · 2 outside the basis · 1 after the as-of · 1 repeated · 40 eligible" in capsys.readouterr().out
    built = open_plane(plane.folder / "plane.yaml").build(plane.intent_path)
    assert "2 of 44 chargeback assertions are about events that are not in the basis." in built.notices
    assert not any("not in the basis" in one for one in built.manifest.core.warnings)  # how many there are is no part of the dataset


def test_what_a_value_means_is_told(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Each value that labels resolve to is told with what the target makes of it; who names no negative values is warned of the rest."""
    outcomes = ["CHARGEBACK"] * 20 + ["FINE"] * 15 + ["SUSPECTED"] * 5
    plane.labels(chargebacks() | {"outcome": outcomes[::-1]})
    told = look(plane, capsys)
    assert told["types"][0]["means"] == {"CHARGEBACK": "positive", "FINE": "negative", "SUSPECTED": "negative"}
    warning = "the target names no negative values, so that every value beside the positive ones is one: FINE, SUSPECTED."
    assert warning in told["warnings"]
    plane.intent["label"]["negative"] = ["FINE"]
    told = look(plane, capsys)
    assert told["types"][0]["means"]["SUSPECTED"] == "unlabeled"
    assert warning not in told["warnings"]
    assert run(["labels", str(plane.intent_path)]) == 0
    assert "resolve to  positive CHARGEBACK 20 · negative FINE 15 · unlabeled SUSPECTED 5" in capsys.readouterr().out


def test_the_balance_of_classes_is_shown_by_split(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """`ofs build` and `ofs show` print rows, classes and the share of positives per split; rows without a target stand apart.

    ── train ──)── test, mature ──┤ as_of − 30 d ── test, young: no label yet ──)     ┤ as_of
    """
    plane.intent["label"] |= {"as_of": "2026-03-10T00:00:00Z", "maturity_days": 30, "immature": "mark"}
    plane.documents()
    assert run(["build", str(plane.intent_path)]) == 0
    built = capsys.readouterr().out
    table = (r"split +from +to +rows +positive +negative +unlabeled +positive % +cold\n"
             r"train +2026-01-03 +2026-01-25 +88 +18 +70 +0 +20\.45 % +\d+\n"
             r"test +2026-02-01 +2026-02-20 +76 +15 +23 +38 +39\.47 % +\d+\n")
    assert re.search(table, built), built
    (manifest,) = plane.manifests()
    assert run(["show", str(manifest), "--plane", str(plane.folder / "plane.yaml")]) == 0
    assert re.search(table, capsys.readouterr().out)


def test_what_would_stop_a_build_is_told_here(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A gate that fails ends no look: its code and sentence stand in the answer; here there is no negative at all."""
    plane.labels({"tx_id": list(range(1, 201)), "reported_at": [START + timedelta(hours=6 * i, days=3) for i in range(200)],
                  "outcome": ["CHARGEBACK"] * 200})
    (failed,) = [gate for gate in look(plane, capsys)["gates"] if gate["verdict"] == "FAIL"]
    assert (failed["gate"], failed["reason_code"]) == ("target", "TARGET_DEGENERATE")
    assert "train has 88 positive and 0 negative rows" in failed["sentences"]
    assert run(["labels", str(plane.intent_path)]) == 0
    assert re.search(r"target +FAIL +train has 88 positive and 0 negative rows", capsys.readouterr().out)
    check_answer(ask(capsys, "build", str(plane.intent_path)), 4, "TARGET_DEGENERATE", ("88 positive and 0 negative",))


def test_where_no_label_is_known_yet_that_is_said(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """An as-of before every label is no error of a look: nothing is known, no lag is told, and no maturity is proposed but the intent's."""
    plane.intent["label"] |= {"as_of": "2026-01-02T00:00:00Z", "maturity_days": 1}
    plane.intent["splits"] = {}
    told = look(plane, capsys)["types"][0]
    assert told["measured"] == {"answers": 0, "p50": None, "p90": None, "p99": None, "settled": False}
    assert [(one["maturity_days"], one["known"]) for one in told["maturities"]] == [(1, None)]
    assert run(["labels", str(plane.intent_path)]) == 0
    assert "No label is known of any of these events" in capsys.readouterr().out


def test_each_label_type_is_told_for_what_it_is(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Types that become columns have cohorts beside the target's; of a type that only features look at, its assertions are told."""
    for name in ("dispute", "alarm"):
        plane.plane["labels"][name] = {**plane.plane["labels"]["chargeback"], "value": name.upper()}
    plane.intent["labels"] = ["dispute"]
    plane.profile["groups"]["terminal"]["features"]["alarms"] = "label_count(alarm, ALARM)"
    told = {one["label_type"]: one for one in look(plane, capsys)["types"]}
    assert {name: one["role"] for name, one in told.items()} == {"alarm": "features", "chargeback": "target", "dispute": "column"}
    assert (told["alarm"]["splits"], told["alarm"]["assertions"]["assertions_eligible"]) == ([], 40)
    assert [one["answered"] for one in told["dispute"]["splits"]] == ["0.194444", "0.204545", "0.197368"]
    assert run(["labels", str(plane.intent_path)]) == 0
    assert "alarm  (only features look at it)" in capsys.readouterr().out


def test_where_no_event_is_left_that_is_said(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A `where` that no event passes gives an answer with empty tables, and the gates say why nothing can be built."""
    plane.intent |= {"where": "amount > 5000"}
    told = look(plane, capsys)
    assert (told["types"][0]["splits"], told["types"][0]["role"]) == ([], "target")
    assert {gate["gate"] for gate in told["gates"] if gate["verdict"] == "FAIL"} == {"coverage", "target"}
    assert run(["labels", str(plane.intent_path)]) == 0
    assert "No label is known of any of these events" in capsys.readouterr().out


def test_the_library_says_what_the_command_says(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """`plane.labels` gives the typed answer of which the command prints the document; what it cannot cut or weigh, it refuses."""
    opened = open_plane(plane.folder / "plane.yaml")
    report = opened.labels(plane.intent_path, by="week", maturity_days=[60])
    assert report.document() == look(plane, capsys, "--by", "week", "--maturity", "60")
    assert [choice.days for choice in report.types[0].choices] == [3, 10, 60]
    for wrong in ({"by": "year"}, {"maturity_days": [0]}, {"maturity_days": [-1]}, {"maturity_days": [1.5]}, {"maturity_days": [True]}):
        with pytest.raises(LabelPolicyInvalid):
            opened.labels(plane.intent_path, **wrong)  # type: ignore[arg-type]
