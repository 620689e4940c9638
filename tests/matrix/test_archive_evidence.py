"""What an archive must prove before it is learned from: no hole in its chain, no record that nobody can read (`domain.md` §1.4)."""

import pytest
from archive_plane import edit_index, garble, make_archive_plane

from offline_feature_plane.errors import ReplayBasisGap, ReplayIncomplete
from offline_feature_plane.plane import open_plane


@pytest.fixture
def plane(tmp_path):
    """The small plane over an archive."""
    return make_archive_plane(tmp_path / "p")


def opened(plane, engine="local"):
    """The plane, its documents as they are now."""
    plane.documents()
    return open_plane(plane.folder / "plane.yaml", **{"engine.name": engine})


def part(start, end):
    """A range of the archive, as an intent names it."""
    return {"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset", "log_id": "log1", "start_offset": str(start),
            "end_offset": str(end)}


@pytest.mark.parametrize("hole", [1, 2])
def test_a_hole_is_no_end_of_the_question(plane, hole):
    """A short intent asks for all of an archive: a segment that is missing in between is refused by `plan` and `build`, before a run.

    segments   [0 ── 50)   ·hole·   [100 ── 150)[150 ── 200)        basis [0 ─────────── 200)
    """
    edit_index(plane, lambda segments: segments.pop(hole))
    for ask in (opened(plane).plan, opened(plane).build, opened(plane).preview):
        with pytest.raises(ReplayBasisGap) as refused:
            ask(plane.intent_path)
        fields = refused.value.fields["completeness"]["anomalies"][0]
        assert (fields["start_offset"], fields["end_offset"]) == (str(50 * hole), str(50 * hole + 50))
    assert not opened(plane).runs()
    assert plane.manifests() == []


def test_ranges_around_a_hole_may_be_named(plane):
    """Whoever names ranges says what the basis is: what lies around a hole is complete, and the hole's events are not read.

    basis   [0 ── 50)            [100 ──────────── 200)
    """
    edit_index(plane, lambda segments: segments.pop(1))
    plane.intent["replay_basis"] = [part(0, 50), part(100, 200)]
    built = opened(plane).build(plane.intent_path)
    core = built.manifest.core
    assert (core.eligibility.complete, core.eligibility.training_ready, core.replay["events_read"]) == (True, True, 150)
    held = opened(plane).dataset(built.manifest.dataset_manifest_id).to_arrow()["event_id"].to_pylist()
    assert not {str(number) for number in range(51, 101)} & set(held)
    plane.intent["replay_basis"] = [part(0, 60), part(100, 200)]
    with pytest.raises(ReplayBasisGap):
        opened(plane).plan(plane.intent_path)


def test_an_archive_that_ends_early_is_whole(plane):
    """A missing last segment is no hole: the archive just knows less."""
    edit_index(plane, lambda segments: segments.pop(3))
    assert opened(plane).build(plane.intent_path).manifest.core.replay["events_read"] == 150


@pytest.mark.parametrize("engine", ["local", "oracle"])
@pytest.mark.parametrize(("declared", "passes"), [(None, False), (1, False), (2, True), (3, True)])
def test_records_that_nobody_can_read_must_be_known_to_the_index(plane, engine, declared, passes):
    """Undecodable records are holes that no offset shows: training needs the index to declare as many."""
    garble(plane, 1, 3, 4)
    if declared is not None:
        edit_index(plane, lambda segments: segments[1].update(dispositions={"undecodable": declared}))
    if not passes:
        with pytest.raises(ReplayIncomplete, match="2 records of the basis cannot be decoded") as refused:
            opened(plane, engine).build(plane.intent_path)
        assert refused.value.exit_status == 3
        assert "dispositions" in refused.value.fix
        (run,) = opened(plane).runs()
        assert (run.state, run.reason_code) == ("FAILED", "REPLAY_INCOMPLETE")
        assert plane.manifests() == []
        return
    core = opened(plane, engine).build(plane.intent_path).manifest.core
    assert core.row_accounting["undecodable"] == 2
    assert core.eligibility.training_ready
    assert {gate.gate: gate.verdict for gate in core.gates}["decoding"] == "PASS"
    assert "2 records of the basis cannot be decoded; no window has them." in core.warnings


def test_only_the_read_segments_declare(plane):
    """A declaration in a segment that the basis does not touch excuses nothing."""
    garble(plane, 1, 3)
    edit_index(plane, lambda segments: segments[3].update(dispositions={"undecodable": 1}))
    plane.intent["replay_basis"] = [part(0, 150)]
    with pytest.raises(ReplayIncomplete):
        opened(plane).build(plane.intent_path)


def test_another_purpose_carries_the_verdict(plane):
    """A dataset that is not for training is published with the gate's FAIL, the reason, and a warning."""
    garble(plane, 1, 3, 4)
    plane.intent["non_training_allowed"] = True
    built = opened(plane).build(plane.intent_path)
    core = built.manifest.core
    (gate,) = (one for one in core.gates if one.gate == "decoding")
    assert (gate.verdict, gate.reason_code, gate.details["undecodable"]) == ("FAIL", "REPLAY_INCOMPLETE", 2)
    assert not core.eligibility.training_ready
    assert "decoding: REPLAY_INCOMPLETE" in core.eligibility.reasons
    assert "2 records of the basis cannot be decoded; no window has them." in core.warnings
    assert opened(plane).verify(built.manifest.dataset_manifest_id).intact


def test_an_archive_that_reads_well_is_not_warned_of(plane):
    """What the garbled archives are held against: the gate passes and nothing is said."""
    core = opened(plane).build(plane.intent_path).manifest.core
    assert {gate.gate: gate.verdict for gate in core.gates}["decoding"] == "PASS"
    assert not [one for one in core.warnings if "decoded" in one]
