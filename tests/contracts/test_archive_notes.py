"""Notes beside an index: nothing that was noted is lost, and noting costs as much for the thousandth file as for the first."""

import json

import pytest

from offline_feature_plane.contracts.archive_index import IndexedSegment
from offline_feature_plane.errors import ArchiveIndexConflict
from offline_feature_plane.sources.archives.notes import FULL, Notes, name_of_notes, noted_segments
from offline_feature_plane.sources.archives.places import FolderPlace

NAME = name_of_notes("tx")
WISH = ["jsonl", 5]


def entry(n, **changes):
    """What a job knows of a file."""
    said = {"topic": "tx", "partition": 0, "offset_kind": "kafka_offset", "log_id": "log", "path": f"tx/0/{n}.jsonl",
            "first_offset": str(n), "last_offset": str(n), "next_offset": str(n + 1), "record_count": 1, "sha256": f"sha256:{n:064x}",
            "size": 9, "first_log_time_utc": None, "last_log_time_utc": None}
    return IndexedSegment.model_validate(said | changes)


def noted(place, count, *, name=NAME, wish=WISH):
    """Notes of a job on so many files, one after the other."""
    notes = Notes(place, name)
    notes.begin(wish, "2026-01-01T00:00:00Z", {})
    for n in range(count):
        notes.add({entry(n).path: (entry(n),)})
    return notes


def sheets(root):
    """The sheets that there are."""
    return sorted(path.name for path in root.iterdir())


@pytest.mark.parametrize("count", [0, 1, FULL, FULL + 1, 3 * FULL + 5])
def test_what_was_noted_is_found_again(tmp_path, count):
    """By whoever comes later: the wish, the moment, and each file once, in the order in which it was noted; then all of it goes."""
    place = FolderPlace(tmp_path)
    notes = noted(place, count)
    again = Notes(place, NAME)
    assert (again.wish, again.archived_at, again.files) == (WISH, "2026-01-01T00:00:00Z", notes.files)
    assert list(noted_segments(place).values()) == [entry(n) for n in range(count)]
    assert len(sheets(tmp_path)) == max(1, -(-count // FULL))
    again.remove()
    assert sheets(tmp_path) == []


def test_a_sheet_that_is_full_is_not_written_again(tmp_path, monkeypatch):
    """What is written for a file does not grow with how many there are."""
    written = []
    genuine = FolderPlace.replace
    monkeypatch.setattr(FolderPlace, "replace", lambda self, name, data, before: (written.append((name, len(data))),
                                                                                  genuine(self, name, data, before))[1])
    noted(FolderPlace(tmp_path), 4 * FULL)
    assert len(written) == 4 * FULL + 1
    assert [name for name, _ in written[1:]] == [f"{NAME}.{n // FULL}" if n >= FULL else NAME for n in range(4 * FULL)]
    assert max(size for _, size in written[-FULL:]) < 1.1 * max(size for _, size in written[:FULL + 1])


def test_what_is_known_later_is_written_with_what_comes_next(tmp_path):
    """An etag is there when the file is; so it is in the notes as soon as another file is noted, also on the sheet before."""
    place = FolderPlace(tmp_path)
    notes = Notes(place, NAME)
    notes.begin(WISH, "", {})
    for n in range(FULL + 2):
        notes.add({entry(n).path: (entry(n),)})
        notes.amend(entry(n, etag=f'"{n}"'))
    assert [one.etag for one in noted_segments(place).values()] == [*(f'"{n}"' for n in range(FULL + 1)), None]


def test_a_job_goes_on_from_notes_on_a_sheet_of_its_own(tmp_path):
    """Of a file that was read again the later entries count, however many these are."""
    place = FolderPlace(tmp_path)
    noted(place, 3)
    notes = Notes(place, NAME)
    notes.add({entry(1).path: (entry(1, size=10), entry(1, size=10, partition=1))})
    notes.add({entry(7).path: (entry(7),)})
    assert sheets(tmp_path) == [NAME, f"{NAME}.1"]
    assert [[one.size for one in entries] for entries in Notes(place, NAME).files.values()] == [[9], [10, 10], [9], [9]]


def test_beginning_anew_is_one_step(tmp_path, monkeypatch):
    """A job that is stopped when it has replaced the first sheet has replaced all: those behind it are another job's, and count no more."""
    place = FolderPlace(tmp_path)
    noted(place, 3 * FULL)

    def stopped(self, name):
        raise KeyboardInterrupt
    with monkeypatch.context() as patched:
        patched.setattr(FolderPlace, "remove", stopped)
        with pytest.raises(KeyboardInterrupt):
            Notes(place, NAME).begin(["parquet", 5], "later", {entry(100).path: (entry(100),)})
    assert sheets(tmp_path) == [NAME, f"{NAME}.1", f"{NAME}.2"]
    found = Notes(place, NAME)
    assert (found.wish, list(found.files)) == (["parquet", 5], [entry(100).path])
    found.begin(WISH, "", {})
    assert sheets(tmp_path) == [NAME]


def test_notes_of_topics_that_are_called_like_sheets_stay_apart(tmp_path):
    """A topic may be called `tx.json.1`: its notes end in `.json` like all others."""
    place = FolderPlace(tmp_path)
    noted(place, FULL + 1)
    noted(place, 1, name=name_of_notes("tx.json.1"), wish="other")
    assert len(sheets(tmp_path)) == 3
    assert len(Notes(place, NAME).files) == FULL + 1
    assert Notes(place, name_of_notes("tx.json.1")).wish == "other"
    assert len(noted_segments(place)) == FULL + 1


@pytest.mark.parametrize("text", ["no notes", "[]", '{"wish": 1}', '{"wish": 1, "archived_at_utc": "", "files": {"a": [{}]}}'])
def test_what_nobody_can_read_is_no_notes_and_is_replaced(tmp_path, text):
    """Notes of another release, or of none, are as good as none."""
    (tmp_path / NAME).write_text(text)
    notes = Notes(FolderPlace(tmp_path), NAME)
    assert (notes.wish, notes.files) == (None, {})
    notes.begin(WISH, "", {})
    assert json.loads((tmp_path / NAME).read_text())["wish"] == WISH


def test_two_jobs_do_not_share_notes(tmp_path):
    """Whoever finds a sheet that is not the one it wrote is told."""
    place = FolderPlace(tmp_path)
    notes = noted(place, 1)
    noted(place, 2)
    with pytest.raises(ArchiveIndexConflict, match="changed by somebody else"):
        notes.add({entry(5).path: (entry(5),)})
