"""From an intent to a dataset across the cut: an archive for the past, a bus for the rest, and what becomes of it when they disagree."""

import json

import pytest
from bus_plane import make_bus_plane, of, payments, with_buses

from offline_feature_plane.__main__ import run
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.errors import (
    BasisUnresolved,
    IntentKindUnsupported,
    ReplayBasisGap,
    ReplayBasisMismatch,
    ReplayIncomplete,
    TopicCompacted,
)
from offline_feature_plane.plane import open_plane
from offline_feature_plane.testing.archives import write_archive


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes planes with a bus; which of both has which offsets may be said."""
    with_buses(monkeypatch)
    return lambda name="p", **held: make_bus_plane(tmp_path / name, **held)


def opened(plane, **settings):
    """The plane, its documents as they are now."""
    plane.documents()
    return open_plane(plane.folder / "plane.yaml", **settings)


def report_of(plane, ref):
    """The anomaly report that a ref names, whose digest is that of what is stored."""
    data = (plane.folder / "store" / ref["key"]).read_bytes()
    assert sha256_of(data) == ref["sha256"]
    return json.loads(data)


@pytest.mark.parametrize("engine", ["local", "oracle"])
def test_a_dataset_is_built_across_the_cut(made, engine):
    """The plan says who is read where; the manifest's evidence keeps it, with what was compared.

    archive   [0 ────────────── 120)
    bus                 [80 ────────────── 200)
    """
    plane = made()
    planned = opened(plane, **{"engine.name": engine}).plan(plane.intent_path)
    assert planned.plan.feasibility == "FEASIBLE_REQUIRES_ARCHIVE"
    built = opened(plane, **{"engine.name": engine}).build(plane.intent_path)
    assert built.manifest.core.replay["events_read"] == 200
    assert (built.manifest.core.eligibility.complete, built.manifest.core.eligibility.training_ready) == (True, True)
    (source, _) = built.manifest.evidence.sources
    assert (source.kind, source.read_by) == ("stream", "stream@1")
    assert source.routes[0]["pieces"] == [{"holder": "archive", "start_offset": "0", "end_offset": "120"},
                                          {"holder": "bus", "start_offset": "120", "end_offset": "200"}]
    assert source.routes[0]["watermarks"] == {"log_start": "80", "last_stable": "200", "end": "200", "is_compacted": False}
    report = report_of(plane, built.manifest.evidence.anomaly_report.model_dump())
    assert (report["status"], report["conflicts"], report["findings"], report["verify_overlap"]) == ("COMPLETE", 0, [], "sample")
    assert report["compared"] >= 4
    assert opened(plane).verify(built.manifest.dataset_manifest_id).intact


def test_whoever_holds_the_log_it_is_one_dataset(made):
    """The same offsets from the bus alone, across the cut, and from the archive alone: one core, to the byte of its digest."""
    cores = []
    for name, held in (("bus", {"archive": range(1), "bus": range(200)}), ("both", {}), ("archive", {"archive": range(200), "bus": [199]})):
        plane = made(name, **held)
        built = opened(plane, verify_overlap="full").build(plane.intent_path)
        cores.append(built.manifest.core.model_dump())
    assert cores[0] == cores[1] == cores[2]


def test_a_dataset_can_be_computed_again_when_the_bus_has_moved_on(made):
    """First read from the bus, years later from the archive alone: computed again, it is the same."""
    plane = made(archive=range(20), bus=range(200))
    plane.intent["replay_basis"] = [{"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset", "log_id": "log1",
                                     "start_offset": "0", "end_offset": "200"}]
    first = opened(plane).build(plane.intent_path)
    assert first.manifest.evidence.sources[0].routes[0]["feasibility"] == "FEASIBLE_BUS_ONLY"
    write_archive(plane.folder / "archive", payments(range(200)), per_segment=50)
    of(plane).retain(0, 199)
    again = opened(plane).build(plane.intent_path, recompute=True)
    assert (again.outcome, again.manifest.core) == ("REPRODUCED", first.manifest.core)


def test_a_training_is_not_built_from_a_log_about_which_two_disagree(made):
    """One forged record in the overlap ends the run; its failure receipt names the report, which has the coordinate."""
    plane = made()
    of(plane).forge(0, payments([99], customer_id="mallory")[0])
    with pytest.raises(ReplayBasisMismatch, match=r"disagree at 1 of .* compared coordinates.*transaction/0@99") as refused:
        opened(plane).build(plane.intent_path)
    assert refused.value.exit_status == 3
    (run,) = opened(plane).runs()
    assert (run.state, run.reason_code) == ("FAILED", "REPLAY_BASIS_MISMATCH")
    assert plane.manifests() == []
    (failure,) = plane.folder.glob("store/cards/ofs/receipts/*/1/failure.json")
    refs = json.loads(failure.read_text())["receipts"]
    assert [ref["name"] for ref in refs] == ["anomaly report", "replay receipt"]
    report = report_of(plane, refs[0])
    assert (report["status"], report["conflicts"], report["counts"]) == ("INCOMPLETE", 1, {"REPLAY_BASIS_MISMATCH": 1})
    assert report["findings"][0]["stretches"] == [{"start_offset": "99", "end_offset": "100"}]
    assert refused.value.fields["anomaly_report"] == refs[0]["key"]
    assert refs[0]["key"] in refused.value.fix
    with pytest.raises(ReplayBasisMismatch) as looked:
        opened(plane).preview(plane.intent_path)
    assert "report" not in looked.value.fix


def test_a_training_is_not_built_from_an_archive_that_lacks_a_record(made):
    """A record that is dropped and an index that does not say so are found by the default, wherever the record stood.

    archive   [0 ── 89) [90 ── 120)      89 is not there
    bus               [80 ──────────── 200)
    """
    plane = made(archive=[n for n in range(120) if n != 89])
    with pytest.raises(ReplayBasisMismatch, match=r"disagree at 1 of .* compared coordinates.*transaction/0@89"):
        opened(plane).build(plane.intent_path)
    assert plane.manifests() == []


def test_another_purpose_says_that_it_is_incomplete(made):
    """A dataset that is not for training takes the archive's record, and says that its log is disputed."""
    plane = made()
    of(plane).forge(0, payments([99], customer_id="mallory")[0])
    plane.intent["non_training_allowed"] = True
    built = opened(plane).build(plane.intent_path)
    core = built.manifest.core
    (gate,) = (one for one in core.gates if one.gate == "overlap")
    assert (gate.verdict, gate.reason_code, gate.details["places"]) == ("FAIL", "REPLAY_BASIS_MISMATCH", ["transaction/0@99"])
    assert (core.eligibility.complete, core.eligibility.training_ready) == (False, False)
    assert "overlap: REPLAY_BASIS_MISMATCH" in core.eligibility.reasons
    assert report_of(plane, built.manifest.evidence.anomaly_report.model_dump())["status"] == "INCOMPLETE"
    assert opened(plane).verify(built.manifest.dataset_manifest_id).intact


def test_a_dispute_that_is_over_is_no_nondeterminism(made):
    """Computed again when the bus has let go what it disputed, the rows are the same, and what differs is said."""
    plane = made()
    lane = {"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset", "log_id": "log1"}
    plane.intent |= {"non_training_allowed": True, "replay_basis": [{**lane, "start_offset": "0", "end_offset": "200"}]}
    of(plane).forge(0, payments([99], customer_id="mallory")[0])
    opened(plane).build(plane.intent_path)
    assert opened(plane).build(plane.intent_path, recompute=True).outcome == "REPRODUCED"
    of(plane).retain(0, 110)
    with pytest.raises(ReplayBasisMismatch, match=r"the rows of dm_.* are the same again, but .* was disputed .* and was not this time"):
        opened(plane).build(plane.intent_path, recompute=True)


@pytest.mark.parametrize("kind", ["parity_rebuild", "forensic_rebuild"])
def test_what_another_kind_of_build_would_make_of_it_is_refused(made, kind):
    """Parity and forensic builds are served elsewhere: an intent of their kind is refused, not taken for a dataset build."""
    plane = made()
    document = opened(plane).pin(plane.intent_path).document
    plane.intent = {**document, "intent_kind": kind}
    with pytest.raises(IntentKindUnsupported):
        opened(plane).build(plane.intent_path)


def test_disputed_only_where_it_is_compared(made):
    """`verify_overlap` is the plane's: off compares nothing, and both settings mean the same dataset."""
    plane = made()
    of(plane).forge(0, payments([90], customer_id="mallory")[0])
    off = opened(plane, verify_overlap="off").plan(plane.intent_path)
    assert off.pins.dataset_fingerprint == opened(plane, verify_overlap="full").plan(plane.intent_path).pins.dataset_fingerprint
    with pytest.raises(ReplayBasisMismatch):
        opened(plane, verify_overlap="full").build(plane.intent_path)
    built = opened(plane, verify_overlap="off").build(plane.intent_path)
    assert built.manifest.evidence.anomaly_report is None


@pytest.mark.parametrize(("harm", "code", "answer"), [
    (lambda plane: of(plane).retain(0, 130), ReplayBasisGap, "INFEASIBLE_ARCHIVE_GAP"),
    (lambda plane: of(plane).recreate(0, "log2"), ReplayBasisGap, "INFEASIBLE_ARCHIVE_GAP"),
    (lambda plane: of(plane).open_transaction(0, 190), BasisUnresolved, "UNCHECKABLE"),
    (lambda plane: of(plane).compact(0, [150]), TopicCompacted, "UNCHECKABLE"),
    (lambda plane: of(plane).go_down(), ReplayIncomplete, "UNCHECKABLE")])
def test_a_basis_that_cannot_be_had_is_refused_with_its_answer(made, capsys, harm, code, answer):
    """`ofs plan` says why, stretch by stretch, and `ofs build` leaves the receipt that says so; no run is opened."""
    plane = made()
    plane.intent["replay_basis"] = [{"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset", "log_id": "log1",
                                     "start_offset": "0", "end_offset": "200"}]
    plane.documents()
    harm(plane)
    with pytest.raises(code) as refused:
        opened(plane).build(plane.intent_path)
    assert refused.value.fields["feasibility"] == answer
    (kept,) = plane.folder.glob("store/cards/ofs/receipts/refused/*.json")
    receipt = json.loads(kept.read_text())
    assert (receipt["feasibility"], receipt["status"]) == (answer, "INCOMPLETE")
    assert not opened(plane).runs()
    assert run(["plan", str(plane.intent_path)]) == code.exit_status
    shown = capsys.readouterr().err
    assert answer in shown
    assert "archive" in shown
    assert run(["plan", str(plane.intent_path), "--json"]) == code.exit_status
    assert json.loads(capsys.readouterr().out)["error"]["fields"]["feasibility"] == answer


def test_a_plan_shows_the_pieces(made, capsys):
    """Text for people, documents for machines: the answer, each stretch, and how far the bus reached when it was asked."""
    plane = made()
    assert run(["plan", str(plane.intent_path)]) == 0
    shown = capsys.readouterr().out
    assert "FEASIBLE_REQUIRES_ARCHIVE" in shown
    assert [line.split() for line in shown.splitlines() if "[" in line and ")" in line and "offsets" not in line][:2] == [
        ["transaction", "0", "archive", "[0,", "120)", "[80,", "200)"], ["bus", "[120,", "200)"]]
    assert run(["plan", str(plane.intent_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["feasibility"] == "FEASIBLE_REQUIRES_ARCHIVE"
    assert document["sources"][0]["routes"][0]["overlaps"] == [{"start_offset": "80", "end_offset": "120"}]


def test_a_bus_that_is_silent_is_told_by_the_plan(made):
    """The archive has the range, so it is read; that nothing is compared with the bus, and why, is a warning."""
    plane = made(archive=range(180))
    plane.intent["replay_basis"] = [{"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset", "log_id": "log1",
                                     "start_offset": "0", "end_offset": "180"}]
    assert not [one for one in opened(plane).plan(plane.intent_path).plan.warnings if "archive alone" in one]
    of(plane).go_down()
    planned = opened(plane).plan(plane.intent_path).plan
    (told,) = (one for one in planned.warnings if "archive alone" in one)
    assert told == "transaction is read from the archive alone, and compared with nothing: the bus does not answer."
    assert planned.sources[0].verify_overlap == "off"
    assert opened(plane).build(plane.intent_path).manifest.evidence.anomaly_report is None


def test_neither_archive_nor_bus_is_ever_written(made, capsys):
    """Whatever is asked of a plane, its logs stay as they were, to the byte and to the moment of their last change (product: never)."""
    plane = made()

    def held():
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for folder in ("archive", "bus")
                for path in (plane.folder / folder).rglob("*") if path.is_file()}
    before, where = held(), ["--plane", str(plane.folder / "plane.yaml")]
    assert len(before) == 6 + 1 + 2
    for verb in ("plan", "preview", "labels", "features", "build"):
        assert run([verb, str(plane.intent_path)]) == 0
    (dataset,) = opened(plane).datasets()
    dm_id = dataset.dataset_manifest_id
    for asked in (["build", str(plane.intent_path), "--recompute"], ["verify", dm_id, *where], ["show", dm_id, *where], ["doctor", *where],
                  ["enqueue", str(plane.intent_path)], ["worker", "--once", *where], ["audit", dm_id, *where],
                  ["retire", dm_id, "--reason", "a test", "--expire-data", *where], ["gc", "--apply", *where]):
        assert run(asked) == 0, asked
        capsys.readouterr()
    assert held() == before


def test_the_pins_of_a_plan_know_no_watermark(made):
    """How far a bus reaches is told per attempt: an intent with ranges has the same pins when the bus has moved on (`decisions.md` D4)."""
    plane = made()
    plane.intent["replay_basis"] = [{"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset", "log_id": "log1",
                                     "start_offset": "0", "end_offset": "150"}]
    first = opened(plane).plan(plane.intent_path)
    of(plane).retain(0, 110)
    again = opened(plane).plan(plane.intent_path)
    assert first.pins == again.pins
    assert first.plan.sources[0].routes != again.plan.sources[0].routes
