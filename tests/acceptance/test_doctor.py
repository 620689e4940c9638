"""`ofs doctor`: which datasets soon cannot be built again, because a bus lets go what no archive has."""

import json

import pytest
from bus_plane import make_bus_plane, of, payments, with_buses
from small_plane import START, make_plane

from offline_feature_plane.__main__ import run
from offline_feature_plane.plane import Plane
from offline_feature_plane.settings import load_settings
from offline_feature_plane.testing.archives import write_archive
from offline_feature_plane.testing.asking import ManualClock

DAY = 86_400_000_000
ENDS = int(START.timestamp() * 1_000_000) + 69 * DAY  # 2026-03-11, after the as-of of the small plane


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A plane over an archive up to 120 and a bus, with its dataset published."""
    with_buses(monkeypatch)
    plane = make_bus_plane(tmp_path / "p")
    opened(plane).build(plane.intent_path)
    return plane


def opened(plane, at_us=ENDS):
    """The plane, at a time."""
    plane.documents()
    return Plane(load_settings(plane.folder / "plane.yaml", {}, {}), plane.folder, clock=ManualClock(at_us))


def diagnosis(plane, at_us=ENDS, within_days=3):
    """What the doctor says of the only dataset."""
    (one,) = opened(plane, at_us).doctor(within_days=within_days).diagnoses
    return one


def test_what_the_bus_alone_has_fades_with_its_retention(made):
    """The record at 120 is of January 31; kept for 45 days it may go on March 17.

    archive   [0 ────────────── 120)
    bus                 [80 ──── 120 ──────── 200)
    """
    assert (diagnosis(made).state, diagnosis(made).until_us) == ("on_bus", None)
    of(made).retain(0, 80, retention_us=45 * DAY)
    at = int(START.timestamp() * 1_000_000) + 30 * DAY + 45 * DAY
    assert (diagnosis(made).state, diagnosis(made).until_us) == ("on_bus", at)
    assert diagnosis(made, at_us=at - 3 * DAY).state == "fading"
    assert diagnosis(made, at_us=at - 3 * DAY, within_days=2).state == "on_bus"


def test_what_is_archived_meanwhile_is_safe(made):
    """An archive that has caught up saves the dataset, and it can really be computed again."""
    of(made).retain(0, 80, retention_us=DAY)
    assert diagnosis(made).state == "fading"
    write_archive(made.folder / "archive", payments(range(200)), per_segment=50)
    of(made).retain(0, 199)
    assert diagnosis(made).state == "archived"
    assert opened(made).doctor().well
    made.intent["replay_basis"] = opened(made).manifest("dm_").replay_basis
    assert opened(made).build(made.intent_path, recompute=True).outcome == "REPRODUCED"


def test_what_is_lost_is_told_with_its_stretch(made, capsys):
    """Retention has passed the end of the archive: lost, in text, in JSON, and in the exit status."""
    of(made).retain(0, 150)
    made.documents()
    assert run(["doctor", "--plane", str(made.folder / "plane.yaml")]) == 3
    said = capsys.readouterr().out
    assert "cannot be built again" in said
    assert "transaction/0 [120, 150): the bus has let it go, and the archive lacks it" in said
    assert run(["doctor", "--plane", str(made.folder / "plane.yaml"), "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["well"], document["datasets"][0]["state"]) == (False, "lost")
    assert document["datasets"][0]["ranges"][0]["start_offset"] == "120"


def test_whoever_cannot_be_asked_is_told_and_stops_nothing(made):
    """A bus that is down, an archive that is gone, a topic that plane.yaml has no more: unknown, with the reason."""
    of(made).go_down()
    assert (diagnosis(made).state, "nobody can say now" in diagnosis(made).prognoses[0].sentence) == ("unknown", True)
    (made.folder / "archive/index.json").rename(made.folder / "away")
    assert "cannot be asked" in diagnosis(made).prognoses[0].sentence
    made.plane["archives"] = {}
    made.plane["events"] = {"other": {"path": "chargebacks.parquet", "time": "reported_at"}}
    assert diagnosis(made).prognoses[0].sentence == "plane.yaml has no topic transaction any more"


def test_retired_datasets_are_left_alone(made):
    """A retired dataset is not built again anyway."""
    of(made).retain(0, 150)
    (dataset,) = opened(made).datasets()
    opened(made).retire(dataset.dataset_manifest_id, reason="wrong year")
    assert opened(made).doctor().diagnoses == ()
    assert opened(made).doctor().well


def test_datasets_of_files_need_them_and_no_others(tmp_path, capsys):
    """A table is its files: one that is gone, or is added, makes it another table; their bytes nobody reads for this."""
    plane = make_plane(tmp_path)
    opened(plane).build(plane.intent_path)
    told, labels = diagnosis(plane).prognoses
    assert (diagnosis(plane).state, "has the files that it was read from, 1" in told.sentence) == ("files", True)
    assert labels.sentence == "the chargeback labels have the files that they were read from, 1"
    assert run(["doctor", "--plane", str(plane.folder / "plane.yaml")]) == 0
    assert "rests on files, which are there" in capsys.readouterr().out
    events = next(plane.folder.glob("transactions*"))
    away = events.rename(plane.folder / "away")
    assert (diagnosis(plane).state, "there is no file at" in diagnosis(plane).prognoses[0].sentence) == ("lost", True)
    assert run(["doctor", "--plane", str(plane.folder / "plane.yaml")]) == 3
    assert "transaction: there is no file at" in capsys.readouterr().out
    events.mkdir()
    away.rename(events / events.name)
    (events / f"more-{events.name}").write_bytes((events / events.name).read_bytes())
    told = diagnosis(plane).prognoses[0]
    assert (told.state, told.sentence) == ("lost", f"transaction has got more-{events.name}: as it is now it is another table")
    plane.plane["events"] = {"other": plane.plane["events"]["transaction"]}
    assert diagnosis(plane).prognoses[0].sentence == "plane.yaml has no table transaction any more"


def test_segments_that_are_gone_are_told_before_a_build_needs_them(made):
    """An index names them all the same: what only a missing segment had is lost; what the bus has, too, can be archived anew.

    archive   [0 ── 50)[50 ── 100)[100 ── 120)
    bus                       [80 ──────────────── 200)
    """
    first, *_, last = sorted((made.folder / "archive/transaction").rglob("*.*"))
    data = last.read_bytes()
    last.unlink()
    told = diagnosis(made)
    assert told.state == "fading"
    assert f"the segment {last.relative_to(made.folder / 'archive')} cannot be found" in told.prognoses[0].sentence
    assert "the bus still has it: run `ofs archive index --replace`" in told.prognoses[0].sentence
    last.write_bytes(data)
    first.write_bytes(first.read_bytes() + b" ")
    told = diagnosis(made)
    assert (told.state, "the index says" in told.prognoses[0].sentence, "restore it" in told.prognoses[0].sentence) == ("lost", True, True)
    of(made).go_down()
    assert diagnosis(made).state == "lost"


def test_a_topic_that_is_gone_is_no_silence(made):
    """A bus that answers that it has no such topic has lost what no archive has."""
    for place in of(made).root.joinpath("transaction").glob("*"):
        place.unlink()
    told = diagnosis(made)
    assert (told.state, "transaction/0 [120, 200)" in told.prognoses[0].sentence) == ("lost", True)


def test_without_datasets_there_is_nothing_to_tell(tmp_path, capsys):
    """A new plane is well."""
    plane = make_plane(tmp_path)
    assert run(["doctor", "--plane", str(plane.folder / "plane.yaml")]) == 0
    assert "There are no datasets." in capsys.readouterr().out


def test_labels_that_are_gone_or_may_be_others_are_told(tmp_path, monkeypatch):
    """A timeline may lie in other files than it did, but not in none; one that nobody may read is told, and stops nothing."""
    plane = make_plane(tmp_path)
    opened(plane).build(plane.intent_path)
    labels = next(plane.folder.glob("chargebacks*"))
    away = labels.rename(plane.folder / "away")
    assert diagnosis(plane).state == "lost"
    assert diagnosis(plane).prognoses[1].sentence.startswith("the chargeback labels: there is no file at")
    labels.mkdir()
    away.rename(labels / "other.parquet")
    told = diagnosis(plane).prognoses[1]
    assert (told.state, told.sentence.startswith(f"the chargeback labels lack {labels.name}: whether")) == ("unknown", True)
    (labels / "other.parquet").rename(labels / labels.name)
    assert diagnosis(plane).state == "files"

    def refused(path):
        raise PermissionError(13, "Permission denied")
    with monkeypatch.context() as patched:
        patched.setattr("offline_feature_plane.filesets.open_in_place", refused)
        assert [one.state for one in diagnosis(plane).prognoses] == ["unknown", "unknown"]
        assert diagnosis(plane).prognoses[1].sentence.endswith("cannot be opened: Permission denied")
    plane.plane["labels"]["refund"] = plane.plane["labels"].pop("chargeback")
    assert diagnosis(plane).prognoses[1].sentence == "plane.yaml has no chargeback labels any more"
    assert not diagnosis(plane).settings_hold


def test_what_else_a_dataset_is_built_with_is_told(tmp_path, monkeypatch, capsys):
    """The key of its tokens, for there are none of these without it; plane.yaml and the release, which somebody keeps elsewhere."""
    plane = make_plane(tmp_path)
    built = opened(plane).build(plane.intent_path)
    where = ["--plane", str(plane.folder / "plane.yaml")]
    plane.plane["labels"]["chargeback"]["min_lag"] = "1h"
    told = diagnosis(plane)
    assert (told.state, told.settings_hold, told.release) == ("files", False, None)
    assert run(["doctor", *where]) == 0
    assert "plane.yaml says of its inputs what it did not say then" in capsys.readouterr().out
    del plane.plane["labels"]["chargeback"]["min_lag"]
    monkeypatch.setattr("offline_feature_plane.planning_inputs.installed_release", lambda: "9.9.9+sha256:0")
    assert diagnosis(plane).release == built.manifest.core.identity["ofs_code_release_id"]
    assert run(["doctor", *where]) == 0
    assert "1 of these is of another release of the code, which alone can build them again: 0.1.0 " in capsys.readouterr().out
    key = plane.folder / "tokens.key"
    key.rename(plane.folder / "kept.key")
    assert (diagnosis(plane).state, "and the plane has none: restore that key" in diagnosis(plane).prognoses[-1].sentence) == ("lost", True)
    key.write_bytes(b"another secret")
    assert run(["doctor", *where]) == 3
    assert "its tokens were made with the key " in capsys.readouterr().out
