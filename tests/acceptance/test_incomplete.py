"""A basis that is not whole: refused for trainings, declared for other datasets, answered for parity and forensic rebuilds."""

import json
import warnings
from datetime import UTC, datetime

import pytest
from answers import ask, check_answer
from archive_plane import edit_index, make_archive_plane
from bus_plane import make_bus_plane, of, payments, with_buses

from offline_feature_plane.__main__ import run
from offline_feature_plane.corridor.authenticity import check_words
from offline_feature_plane.errors import (
    BasisUnresolved,
    IntentKindUnsupported,
    ReplayBasisGap,
    ReplayBasisMismatch,
    ReplayEventsEmpty,
    ReplayIncomplete,
    TopicCompacted,
    TrainingNotReady,
    Unpinned,
)
from offline_feature_plane.plane import open_plane
from offline_feature_plane.testing.archives import write_archive

LANE = {"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset", "log_id": "log1"}


def stretch(start, end, **changes):
    """A stretch of the log, as documents have it."""
    return {**LANE, "start_offset": str(start), "end_offset": str(end), **changes}


@pytest.fixture
def made(place, monkeypatch):
    """Makes planes of an archive and a bus in folders of their own."""
    with_buses(monkeypatch)
    return lambda name="p", **held: make_bus_plane(place / name, **held)


def opened(plane, **settings):
    """The plane, with its documents written."""
    plane.plane |= settings
    plane.documents()
    return open_plane(plane.folder / "plane.yaml")


def lacking(plane, gaps="as_found", **changes):
    """The plane's intent for another purpose, which may lack something; and of all offsets, as somebody knows them."""
    plane.intent |= {"non_training_allowed": True, "gaps": gaps, "replay_basis": [stretch(0, 200)], **changes}
    return plane


def holed(folder, first=50, end=100):
    """A plane of an archive alone, which lacks one of its segments of fifty."""
    plane = make_archive_plane(folder)
    edit_index(plane, lambda segments: segments.pop(first // 50) if end > first else None)
    return plane


def test_an_archive_with_a_hole_makes_a_dataset_that_says_so(place, capsys):
    """From plan to doctor, everything that is asked tells that something is missing, and where.

    archive   [0 ── 50)        [100 ── 150)[150 ── 200)
    declared          [50, 100)
    events       Jan 13 06:00   Jan 26 00:00                 windows of 7d: rows until Feb 2, of which the splits have four
    """
    plane = lacking(holed(place / "p"))
    built = opened(plane).build(plane.intent_path)
    core, dm_id = built.manifest.core, built.manifest.dataset_manifest_id
    assert core.gaps == [stretch(50, 100, why="archive_gap")] == core.identity["replay_basis"]["gaps"]
    assert (core.eligibility.complete, core.eligibility.training_ready) == (False, False)
    assert core.eligibility.reasons == ["completeness: REPLAY_INCOMPLETE", "built for a purpose other than training"]
    assert [(gate.gate, gate.verdict) for gate in core.gates if gate.verdict == "FAIL"] == [("completeness", "FAIL")]
    assert core.replay["events_read"] == 150
    assert "the dataset lacks [50, 100) of transaction/0 (archive_gap)" in core.warnings[0]
    assert core.rows_over_gaps == [{**stretch(50, 100, why="archive_gap"), "event_before": "2026-01-13T06:00:00.000000Z",
                                    "event_behind": "2026-01-26T00:00:00.000000Z", "rows": 4, "rows_behind": None}]
    assert core.warnings[1].startswith("4 of 118 rows have windows that reach over [50, 100) of transaction/0, which lies between")
    report = json.loads((plane.folder / "store" / built.manifest.evidence.anomaly_report.key).read_text())
    assert (report["status"], report["gaps"]) == ("INCOMPLETE", core.gaps)
    (receipt,) = (ref for ref in built.manifest.evidence.receipts if ref.name == "replay receipt")
    told = json.loads((plane.folder / "store" / receipt.key).read_text())["facts"]["completeness"]
    assert (told["status"], told["gaps"], [(one["start_offset"], one["end_offset"]) for one in told["ranges"]]) == (
        "INCOMPLETE", core.gaps, [("0", "50"), ("100", "200")])
    for asked in (["plan", str(plane.intent_path)], ["show", dm_id], ["verify", dm_id], ["doctor"], ["preview", str(plane.intent_path)],
                  ["build", str(plane.intent_path)], ["datasets"]):
        where = [] if asked[0] in {"plan", "preview", "build"} else ["--plane", str(plane.folder / "plane.yaml")]
        assert run([*asked, *where]) == 0
        said = capsys.readouterr().out
        assert ("incomplete" in said) if asked[0] == "datasets" else ("[50, 100)" in said), asked
    with pytest.warns(UserWarning, match="is incomplete: it lacks"):
        opened(plane).dataset(dm_id)
    (line,) = (check for check in opened(plane).admit(dm_id, execution_start=datetime(2026, 9, 1, tzinfo=UTC)).checks
               if check.gate == "eligibility")
    assert line.reason_code == TrainingNotReady.code
    assert "It is incomplete: it lacks [50, 100)" in opened(plane).croissant(dm_id)["description"]


def test_an_archive_that_fills_the_hole_later_changes_no_dataset(place):
    """The pinned intent stays the same dataset, computed again to the same core; the short form finds no gap and means another one.

    archive   [0 ── 50)        [100 ──── 200)      then the hole is filled
    """
    plane = lacking(holed(place / "p"))
    pinned = opened(plane).pin(plane.intent_path)
    first = opened(plane).build(plane.intent_path).manifest
    place_of_pin = plane.folder / "pinned.yaml"
    place_of_pin.write_text(pinned.text)
    make_archive_plane(place / "whole")
    (place / "whole/archive").rename(plane.folder / "whole")
    plane.plane["archives"]["transaction"]["path"] = "whole"
    planned = opened(plane).plan(place_of_pin)
    assert planned.pins.dataset_fingerprint == first.dataset_fingerprint
    assert any("is declared to be missing, and is there by now" in one for one in planned.plan.warnings)
    again = opened(plane).build(place_of_pin, recompute=True)
    assert (again.outcome, again.manifest.core) == ("REPRODUCED", first.core)
    (diagnosis,) = opened(plane).doctor().diagnoses
    assert (diagnosis.state, diagnosis.found) == ("archived", diagnosis.lacks)
    whole = opened(plane).build(plane.intent_path).manifest
    assert whole.dataset_fingerprint != first.dataset_fingerprint
    assert (whole.core.gaps, whole.core.eligibility.complete, whole.core.replay["events_read"]) == ([], True, 200)
    del plane.intent["gaps"]
    assert opened(plane).plan(plane.intent_path).pins.dataset_fingerprint == whole.dataset_fingerprint


@pytest.mark.parametrize("visibility", ["event_time", "arrival"])
def test_engines_agree_about_what_is_missing(place, visibility):
    """The oracle and the local engine compute one core from what is there; rows are those of the events that are there, and no others."""
    cores = []
    for engine in ("local", "oracle"):
        plane = lacking(holed(place / engine), visibility=visibility)
        plane.plane["engine"] = {"name": engine, **({"threads": 1} if engine == "local" else {})}
        cores.append(opened(plane).build(plane.intent_path).manifest.core.model_dump())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ids = opened(plane).dataset(opened(plane).list_datasets().datasets[0].dataset_manifest_id).to_arrow()["event_id"].to_pylist()
        assert not {str(n + 1) for n in range(50, 100)} & set(ids)
    assert cores[0] == cores[1]
    assert (cores[0]["eligibility"]["complete"], len(cores[0]["warnings"][:2])) == (False, 2)
    assert ("a missing one may have come later" in cores[0]["warnings"][1]) == (visibility == "arrival")


@pytest.mark.parametrize(("harm", "gap", "code"), [
    (lambda plane: of(plane).retain(0, 130), stretch(120, 130, why="archive_gap"), ReplayBasisGap),
    (lambda plane: of(plane).recreate(0, "log2"), stretch(120, 200, why="archive_gap"), ReplayBasisGap),
    (lambda plane: of(plane).open_transaction(0, 190), stretch(190, 200, why="not_settled"), BasisUnresolved),
    (lambda plane: of(plane).compact(0, [150]), stretch(120, 200, why="compacted"), TopicCompacted),
    (lambda plane: of(plane).go_down(), stretch(120, 200, why="bus_silent"), ReplayIncomplete)])
def test_what_two_holders_lack_is_refused_or_declared(made, harm, gap, code):
    """For each reason: a training and an intent that declares nothing are refused, one that declares it says what it lacks."""
    plane = made()
    plane.intent["replay_basis"] = [stretch(0, 200)]
    plane.intent["splits"] = {"all_of_it": ["2026-01-03", "2026-01-28"]}
    plane.documents()
    harm(plane)
    with pytest.raises(code) as refused:
        opened(plane).build(plane.intent_path)
    assert "as_found" not in str(refused.value)
    plane.intent["non_training_allowed"] = True
    with pytest.raises(code, match="gaps: as_found"):
        opened(plane).build(plane.intent_path)
    plane.intent["gaps"] = "as_found"
    core = opened(plane).build(plane.intent_path).manifest.core
    assert (core.gaps, core.eligibility.complete) == ([gap], False)
    read = 200 - (int(gap["end_offset"]) - int(gap["start_offset"])) if gap["why"] != "compacted" else 199
    assert core.replay["events_read"] == read
    assert opened(plane).build(plane.intent_path, recompute=True).outcome == "REPRODUCED"


def test_a_beginning_that_retention_has_passed(made):
    """Without an archive of the log: what is there is read, and what plane.yaml declares of its history does not hold any more."""
    plane = lacking(made(archive=range(1), bus=range(200)))
    write_archive(plane.folder / "archive", payments([0], customer_id="C"), per_segment=20)
    edit_index(plane, lambda segments: segments[0].update(first_offset="5000", last_offset="5000", next_offset="5001"))
    plane.plane["archives"]["transaction"]["history_start"] = "2026-01-01T00:00:00Z"
    of(plane).retain(0, 40)
    core = opened(plane).build(plane.intent_path).manifest.core
    assert core.gaps == [stretch(0, 40, why="archive_gap")]
    assert core.replay["history_start"] == {"transaction": None}
    assert {split.name: split.cold for split in core.splits}["train"] > 0


def test_a_bus_without_an_archive_loses_its_beginning(made, capsys):
    """The bus alone will do as long as it has everything; what retention has passed nobody has, and only another purpose may lack it.

    bus   [0 ────────────── 200)        then   [10 ──────── 200)
    """
    plane = made(archive=range(1), bus=range(200))
    plane.plane["archives"]["other"] = plane.plane["archives"].pop("transaction")
    plane.intent["replay_basis"] = [stretch(0, 200)]
    planned = opened(plane).plan(plane.intent_path).plan
    assert (planned.feasibility, planned.sources[0].kind) == ("FEASIBLE_BUS_ONLY", "bus")
    of(plane).retain(0, 10)
    with pytest.raises(ReplayBasisGap, match="the bus keeps it from 10 on, and there is no archive of this log") as refused:
        opened(plane).build(plane.intent_path)
    assert refused.value.fields["feasibility"] == "INFEASIBLE_RETENTION_EXCEEDED_NO_ARCHIVE"
    assert run(["plan", str(plane.intent_path)]) == 3
    assert "INFEASIBLE_RETENTION_EXCEEDED_NO_ARCHIVE" in capsys.readouterr().err
    core = opened(lacking(plane)).build(plane.intent_path).manifest.core
    assert core.gaps == [stretch(0, 10, why="retention_exceeded")]
    assert (core.eligibility.complete, core.replay["events_read"]) == (False, 190)


def test_what_compaction_takes_later_is_noticed(made):
    """What is left of a compacted stretch is read, and never silently another one: computed again, or with an archive that has it."""
    plane = lacking(made())
    of(plane).compact(0, [150])
    pinned = opened(plane).pin(plane.intent_path)
    first = opened(plane).build(plane.intent_path).manifest
    (plane.folder / "pinned.yaml").write_text(pinned.text)
    (diagnosis,) = opened(plane).doctor().diagnoses
    assert (diagnosis.state, "may have lost more" in diagnosis.prognoses[0].sentence) == ("unknown", True)
    of(plane).compact(0, [160])
    assert opened(plane).plan(plane.folder / "pinned.yaml").pins.dataset_fingerprint == first.dataset_fingerprint
    with pytest.raises(ReplayBasisMismatch, match="the events of dm_"):
        opened(plane).build(plane.folder / "pinned.yaml", recompute=True)
    write_archive(plane.folder / "archive", payments(range(200)), per_segment=50)
    with pytest.raises(ReplayBasisMismatch, match="declared as compacted, and is not any more"):
        opened(plane).build(plane.folder / "pinned.yaml")
    assert any("not compacted any more" in one.sentence for one in opened(plane).doctor().diagnoses[0].prognoses)


@pytest.mark.parametrize(("gaps", "change", "code", "words"), [
    ([stretch(50, 90, why="archive_gap")], {}, ReplayBasisGap, r"\[90, 100\)"),
    ([stretch(50, 100, why="archive_gap")], {"non_training_allowed": False}, BasisUnresolved, "never built from a basis with gaps"),
    ([stretch(50, 100, why="because")], {}, BasisUnresolved, "because"),
    ([stretch(50, 100)], {}, BasisUnresolved, "why"),
    ("found", {}, BasisUnresolved, "as_found"),
    ([stretch(100, 50, why="archive_gap")], {}, BasisUnresolved, "holds nothing"),
    ([stretch(50, 300, why="archive_gap")], {}, BasisUnresolved, "not inside of a range"),
    ([stretch(50, 100, why="archive_gap", log_id="log7")], {}, BasisUnresolved, "not inside of a range"),
    ([stretch(50, 100, why="archive_gap"), stretch(70, 100, why="not_settled")], {}, BasisUnresolved, "overlap"),
    ([stretch(0, 200, why="archive_gap")], {}, ReplayEventsEmpty, "everything that the basis names"),
    ([stretch(0, 200, why="compacted")], {}, ReplayBasisGap, r"\[50, 100\)"),
    ([stretch(50, 100, why="compacted")], {}, ReplayBasisGap, r"\[50, 100\)"),
    ([stretch(0, 20, why="compacted"), stretch(50, 100, why="archive_gap")], {}, ReplayBasisMismatch, "not any more")])
def test_a_declaration_that_does_not_hold_is_refused(place, gaps, change, code, words):
    """Too little, too much, elsewhere, twice, for another reason, or for a training; in the short form as in the long one."""
    plane = lacking(holed(place / "p"), gaps, **change)
    with pytest.raises(code, match=words) as short:
        opened(plane).build(plane.intent_path)
    assert "intent.yaml" in str(short.value) or short.value.path == "transaction/0"
    assert not opened(plane).runs()
    if gaps == "found":
        return
    whole = lacking(plane, "as_found", non_training_allowed=True)
    document = opened(whole).pin(whole.intent_path).document
    plane.intent = {**document, "gaps": gaps, **change}
    with pytest.raises(code, match=words):
        opened(plane).build(plane.intent_path)


def test_a_strict_plane_wants_gaps_written_out(place):
    """What is found missing is filled in, and a strict plane takes only what is stated."""
    plane = lacking(holed(place / "p"))
    with pytest.raises(Unpinned, match=r"\$\.gaps: this was filled with"):
        opened(plane, strict=True).plan(plane.intent_path)


@pytest.mark.parametrize(("wanted", "code", "answer", "words"), [
    (stretch(0, 100, log_id="log7"), ReplayBasisMismatch, "INFEASIBLE_UNKNOWN_LOG", "known to count kafka_offset in log log1"),
    (stretch(0, 100, partition=7), BasisUnresolved, "INFEASIBLE_UNKNOWN_PARTITION", "has no partition 7; known are 0."),
    (stretch(0, 100, offset_kind="file_line"), ReplayBasisMismatch, "INFEASIBLE_UNKNOWN_LOG", "the basis counts file_line in log log1")])
@pytest.mark.parametrize("held", ["archive", "both", "bus"])
def test_a_log_or_a_partition_that_nobody_knows_is_no_gap(made, capsys, wanted, code, answer, words, held):
    """Plan and build say what is wrong about the request, whoever holds the topic, and no declaration helps."""
    plane = made()
    if held == "archive":
        of(plane).root.rename(plane.folder / "gone")
    elif held == "bus":
        plane.plane["archives"]["other"] = plane.plane["archives"].pop("transaction")
    for changes in ({}, {"non_training_allowed": True, "gaps": "as_found"}):
        plane.intent |= {"replay_basis": [wanted], **changes}
        plane.documents()
        found = ask(capsys, "plan", str(plane.intent_path))
        check_answer(found, code.exit_status, code.code, (words,))
        with pytest.raises(code, match=words) as refused:
            opened(plane).build(plane.intent_path)
        assert refused.value.fields["feasibility"] == answer
    assert run(["plan", str(plane.intent_path)]) == code.exit_status
    assert answer in capsys.readouterr().err


def kind_of(plane, kind, **changes):
    """The plane's intent in the long form, of another kind."""
    document = opened(plane).pin(plane.intent_path).document
    plane.intent = {**document, "intent_kind": kind, "non_training_allowed": False, **changes}
    return plane


def test_the_plan_of_a_parity_rebuild_is_uncheckable_where_history_is_missing(place, capsys):
    """It is an answer, with the reason; a whole basis can be checked, and a wrong partition is still a wrong request."""
    plane = kind_of(make_archive_plane(place / "p"), "parity_rebuild", parity_anchor_ref="anchor.json")
    whole = opened(plane).plan(plane.intent_path)
    assert (whole.plan.use, whole.plan.answer, whole.pins.identity["purpose"]) == ("parity", "COMPLETE", "non_training")
    edit_index(plane, lambda segments: segments.pop(1))
    plane.documents()
    assert run(["plan", str(plane.intent_path)]) == 3
    said = capsys.readouterr().out
    assert "plan of a parity_rebuild  UNCHECKABLE  INFEASIBLE_ARCHIVE_GAP" in said
    assert "nobody: a hole of the archive" in said
    assert run(["plan", str(plane.intent_path), "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["answer"], document["feasibility"]) == ("UNCHECKABLE", "INFEASIBLE_ARCHIVE_GAP")
    plane.intent["gaps"] = [stretch(50, 100, why="archive_gap")]
    with pytest.raises(BasisUnresolved, match="nothing can be compared over a gap"):
        opened(plane).plan(plane.intent_path)
    plane.intent |= {"gaps": [], "replay_basis": [stretch(0, 10, partition=3)]}
    with pytest.raises(BasisUnresolved, match="no partition 3"):
        opened(plane).plan(plane.intent_path)


def test_the_plan_of_a_forensic_rebuild_may_lack_what_it_declares(place):
    """As another dataset; and where two segments are two archives, the plan goes on and says that it is incomplete."""
    plane = kind_of(lacking(holed(place / "p")), "forensic_rebuild")
    planned = opened(plane).plan(plane.intent_path)
    assert (planned.plan.use, planned.plan.answer, planned.plan.gaps) == ("forensic", "INCOMPLETE", [stretch(50, 100, why="archive_gap")])
    plane.intent["gaps"] = []
    with pytest.raises(ReplayBasisGap, match="gaps: as_found"):
        opened(plane).plan(plane.intent_path)


@pytest.mark.parametrize("kind", ["parity_rebuild", "forensic_rebuild"])
def test_only_planning_serves_these_kinds(place, kind, capsys):
    """Building, previewing, pinning and the queue refuse them at their place, and say who serves them."""
    plane = kind_of(make_archive_plane(place / "p"), kind)
    plane.documents()
    for command in ("build", "preview", "enqueue", "labels", "features"):
        check_answer(ask(capsys, command, str(plane.intent_path)), 2, "INTENT_KIND_UNSUPPORTED",
                     ("intent_kind", "`ofs plan`", f"`ofs {kind.removesuffix('_rebuild')}`"))
    with pytest.raises(IntentKindUnsupported):
        opened(plane).pin(plane.intent_path)


def test_gaps_within_a_span_of_log_time_go_through_the_queue(place, capsys):
    """A selector is resolved, what it lacks is found, and a worker builds the pinned intent as it was left to it."""
    span = {"topic": "transaction", "from_utc": "2026-01-02T00:00:00Z", "to_utc": "2026-02-10T00:00:00Z"}
    plane = lacking(holed(place / "p"), replay_basis=[span])
    plane.documents()
    for command in (["enqueue", str(plane.intent_path)], ["worker", "--once", "--plane", str(plane.folder / "plane.yaml")]):
        assert run(command) == 0
        capsys.readouterr()
    (manifest,) = opened(plane).list_datasets().datasets
    assert manifest.core.gaps == [stretch(50, 100, why="archive_gap")]
    (read,) = (entry for entry in manifest.replay_basis if "partition" in entry)
    assert (read["start_offset"], read["end_offset"], manifest.core.replay["events_read"]) == ("4", "160", 106)
    outside = [stretch(170, 180, why="archive_gap")]
    with pytest.raises(BasisUnresolved, match="not inside of a range"):
        opened(lacking(plane, outside, replay_basis=[span])).build(plane.intent_path)


def test_a_manifest_cannot_hide_what_its_identity_declares(place):
    """Whoever takes the gaps out of a core, or calls it complete, is found by the identity."""
    plane = lacking(holed(place / "p"))
    manifest = opened(plane).build(plane.intent_path).manifest
    for change in ({"gaps": []}, {"eligibility": manifest.core.eligibility.model_copy(update={"complete": True})}):
        forged = manifest.model_copy(update={"core": manifest.core.model_copy(update=change)})
        assert [check.name for check in check_words(forged) if not check.passed] == [
            "the gaps are those of the identity, and make it incomplete"]
    assert all(check.passed for check in check_words(manifest))
