"""What an attempt has read of a log is taken over by the next one, and nothing tells the difference (`docs/decisions/0045`)."""

from __future__ import annotations

import json
import shutil
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_worlds import SOURCES, logs, pinned, task, told

from offline_feature_plane.contracts.archive_index import IndexedSegment
from offline_feature_plane.domain.admission import Scope
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.findings import Alone, Findings, Spot
from offline_feature_plane.domain.foreign_records import V0, lifting_of
from offline_feature_plane.engines.local.connection import Database
from offline_feature_plane.engines.local.history.kept import KeptFolders
from offline_feature_plane.engines.local.history.places import Folder, Memory
from offline_feature_plane.engines.local.history.storing import store_events
from offline_feature_plane.engines.local.sizes import fit
from offline_feature_plane.errors import OfsError, ReplayBasisMismatch
from offline_feature_plane.sources.archives import dividing
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.sources.logs import portions, records
from offline_feature_plane.sources.logs.overlaps import ComparedStretch
from offline_feature_plane.sources.logs.typings import typings_of
from offline_feature_plane.sources.streams import join_streams
from offline_feature_plane.testing.archives import archived, write_archive
from offline_feature_plane.testing.buses import BusFolder, FolderBus

ANY = {"least": st.integers(1, 12), "in_files": st.booleans(), "worth": st.sampled_from([0, 20_000]), "stop": st.integers(1, 12),
       "threads": st.sampled_from([1, 2]),
       "harm": st.sampled_from(["nothing", "a byte", "a file", "the receipt", "half a folder", "what was told"])}


class Killed(BaseException):
    """The process is gone."""


@contextmanager
def cut(least, worth=20_000, most=8):
    """Logs are cut into portions of so many records, however short they are; no power fails here, so nothing is synced."""
    with (patch("offline_feature_plane.engines.local.history.kept.os.fsync"), patch.object(records, "WORTH_KEEPING", 0),
          patch.object(portions, "LEAST", least), patch.object(portions, "MOST", most), patch.object(records, "WORTH_A_COMPILER", worth)):
        yield


def replay(logs_read, wanted, work, *, in_files, place=None, stop=None, threads=1):
    """What a replay says, and the portions that it took over; a code if it fails. `stop`: it is killed when it has told so much."""
    told_so_far = []

    def heard(done):
        told_so_far.append(done)
        if len(told_so_far) == stop:
            raise Killed
    sizes = fit(wanted, 0, 10**9)
    sizes = replace(sizes, in_files=True, run_rows=5, ids=4, merge_total=8) if in_files else sizes
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    with Database(work) as database, closing(KeptFolders(place)) if place else nullcontext() as kept:
        try:
            found = told(*store_events(database, logs_read, wanted, Folder(work) if in_files else Memory(), sizes, heard, kept=kept,
                                        threads=threads))
        except OfsError as wrong:
            found = wrong.describe()
        return found, None if kept is None else kept.portions_taken, told_so_far


def spoil(place: Path, harm: str) -> None:
    """Do harm to the first portion that is kept."""
    for folder in sorted(one for one in place.iterdir() if not one.name.startswith("."))[:1]:
        receipt = folder / "receipt.json"
        match harm:
            case "a byte":
                for file in sorted(one for one in folder.iterdir() if one != receipt)[:1]:
                    data = bytearray(file.read_bytes())
                    data[len(data) // 2] ^= 1
                    file.write_bytes(data)
            case "a file":
                for file in sorted(one for one in folder.iterdir() if one != receipt)[:1]:
                    file.unlink()
            case "the receipt":
                receipt.unlink()
            case "half a folder":
                for file in folder.iterdir():
                    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
            case "what was told":
                document = json.loads(receipt.read_text())
                document["receipt"]["told"]["coordinates"] += 1
                receipt.write_text(json.dumps(document))


def hold(tmp, logs_read, wanted, *, least, in_files, worth, stop, threads, harm):
    """Killed anywhere, and whatever happens to what was kept: the next attempt says what one says that was never disturbed."""
    place = tmp / "kept"
    with cut(least, worth):
        undisturbed, _, _ = replay(logs_read, wanted, tmp / "plain", in_files=in_files)
        with suppress(Killed):
            replay(logs_read, wanted, tmp / "first", in_files=in_files, place=place, stop=stop, threads=threads)
        spoil(place, harm)
        again, _, _ = replay(logs_read, wanted, tmp / "second", in_files=in_files, place=place, threads=threads)
        assert again == undisturbed
        whole, taken, heard = replay(logs_read, wanted, tmp / "third", in_files=not in_files, place=place, threads=threads)
        assert whole == undisturbed
        assert heard == sorted(heard)
    return taken


@pytest.mark.parametrize("visibility", ["event_time", "arrival"])
@settings(max_examples=8, deadline=None)
@given(written=logs(), **ANY)
def test_an_archive_is_read_on_from_where_it_was(tmp_path_factory, visibility, written, **how):
    """Records that come again across the border, arrivals that go on behind it, what is left out: all as if it had been read at once.

    first attempt    [seg)[seg)[seg)[s✗
    second           taken over────▶[seg)[seg)
    """
    tmp = tmp_path_factory.mktemp("log")
    hold(tmp, pinned(tmp / "log", written, ("jsonl", "parquet")), task(visibility), **how)


@pytest.mark.parametrize("form", ["jsonl.zst", "parquet"])
@settings(max_examples=6, deadline=None)
@given(written=logs(), per_file=st.integers(3, 40), **ANY)
def test_an_archive_of_mixed_files_is_read_on_from_where_it_was(tmp_path_factory, form, written, per_file, **how):
    """Which partition is read first, and so keeps rows apart for the others, is another one in each attempt: nothing tells.

    file 0   0/1 1/1 0/2 …        first attempt  partition 0: kept, 1 ✗
    file 1   1/7 0/9 1/8 …        second         partition 0: taken over, 1 reads all of both
    """
    tmp = tmp_path_factory.mktemp("log")
    with patch.object(dividing, "_WORTH", 2), patch.object(dividing, "_TOGETHER", 2_000):
        hold(tmp, pinned(tmp / "log", written, (form,), per_file), task("arrival"), **how)


@st.composite
def overlapping(draw):
    """An archive and a bus of one topic that disagree here and there, and lack what the other has."""
    high, low, end = draw(st.integers(8, 60)), draw(st.integers(0, 7)), draw(st.integers(60, 90))
    offsets = st.sets(st.integers(0, end - 2), max_size=8)
    return {"high": high, "low": low, "end": end, "per": draw(st.integers(2, 9)), "unarchived": draw(offsets), "unbussed": draw(offsets),
            "forged": draw(offsets), "garbled": draw(offsets), "ids": draw(st.integers(20, 90))}


def make_stream(root, drawn, mode):
    """The pinned log of both."""
    def record(n, **changes):
        return archived(f"e{n % drawn['ids']}", n % drawn["ids"] * 1_000, {"who": f"w{n % drawn['ids'] % 5}", "cents": 1}, topic="t1",
                        offset=n, event_type="a", log_us=(n * 7919) % 50 * 1_000, **changes)
    ends = {0, drawn["high"] - 1}
    write_archive(root / "archive", [record(n) for n in range(drawn["high"]) if n not in drawn["unarchived"] or n in ends],
                  per_segment=drawn["per"])
    bus = BusFolder(root / "bus")
    bus.produce([record(n) for n in range(drawn["end"]) if n not in drawn["unbussed"] or n == drawn["end"] - 1], topic="t1")
    for n in sorted(drawn["forged"] - drawn["unbussed"]):
        bus.forge(0, {**record(n), "payload": {"who": "forged", "cents": 2}, "payload_hash": None, "payload_hash_recipe": None}, topic="t1")
    bus.retain(0, drawn["low"], topic="t1")
    return make_stream_again(root, mode)


def make_stream_again(root, mode):
    """The same, as it is pinned now."""
    archive = ArchiveSource({"t1": ArchiveMapping(root / "archive")})
    (source,) = (one for one in join_streams([archive, FolderBus(root / "bus", ("t1",))], archive, mode) if "t1" in one.topics)
    return source.pin("t1")


@pytest.mark.parametrize("mode", ["sample", "full"])
@settings(max_examples=8, deadline=None)
@given(drawn=overlapping(), **ANY)
def test_a_stream_is_read_on_from_where_it_was(tmp_path_factory, mode, drawn, **how):
    """What archive and bus say differently, and what only one of them has, is counted and judged over all portions of an overlap.

    archive    [seg)[seg)[seg)[seg)
    bus               ────────────────────────▶
    portions   └─┘└──┘└──┘└──┘└────┘└────┘
    """
    tmp = tmp_path_factory.mktemp("stream")
    log = make_stream(tmp, drawn, mode)
    hold(tmp, [log.reading((Range("t1", 0, "kafka_offset", "log1", "0", str(drawn["end"])),), SOURCES)], task("arrival"), **how)


def numbered(count, **changes):
    """Records of one topic, one after the other."""
    return [archived(f"e{n}", n * 1_000, {"who": f"w{n % 3}", "cents": n}, topic="t1", offset=n, event_type="a", **changes)
            for n in range(count)]


@pytest.mark.parametrize("in_files", [False, True])
def test_of_what_is_kept_the_source_is_asked_nothing(tmp_path, in_files):
    """Segments that were read to their end can be gone: the next attempt needs only those that are missing among what is kept.

    kept     [seg)[seg)[seg)[seg)[seg)✗          the fifth is still there
    """
    (log,) = pinned(tmp_path / "log", numbered(35), "jsonl")
    place = tmp_path / "kept"
    with cut(7):
        first, taken, _ = replay([log], task(), tmp_path / "work", in_files=in_files, place=place)
        assert (taken, len(list(place.iterdir()))) == (0, 5)
        files = sorted((tmp_path / "log").rglob("*.jsonl"), key=lambda one: one.stat().st_mtime_ns)
        assert len(files) == 5
        for file in files[:-1]:
            file.unlink()
        digest = portions.portions_of(log.stretches, log.ranges, {})[0].digest
        assert digest is not None
        kept = {one.name: json.loads((one / "receipt.json").read_text())["receipt"]["told"] for one in place.iterdir()}
        assert {told["coordinates"] for told in kept.values()} == {7}
        again, taken, heard = replay([log], task(), tmp_path / "work", in_files=in_files, place=place)
        assert (again, taken, heard) == (first, 5, [7, 14, 21, 28, 35, 35])


@pytest.mark.parametrize("in_files", [False, True])
def test_what_is_kept_in_vain_is_read_from_what_is_pinned(tmp_path, in_files):
    """A portion that was damaged is read again, and its segments are held against their pins first.

    kept     [✗][  ][  ]          archive    [✗][seg)[seg)
    """
    (log,) = pinned(tmp_path / "log", numbered(21), "jsonl")
    place = tmp_path / "kept"
    with cut(7):
        first, _, _ = replay([log], task(), tmp_path / "work", in_files=in_files, place=place)
        for folder in place.iterdir():
            for file in folder.iterdir():
                if file.name != "receipt.json":
                    file.write_bytes(file.read_bytes()[:-1])
        again, taken, _ = replay([log], task(), tmp_path / "work", in_files=in_files)
        assert (again, taken) == (first, None)
        path = min((tmp_path / "log").rglob("*.jsonl"))
        path.write_bytes(path.read_bytes().replace(b'"w1"', b'"w2"'))
        failed, _, _ = replay([log], task(), tmp_path / "work", in_files=in_files, place=place)
    assert failed["code"] == ReplayBasisMismatch.code
    assert "its bytes now are" in failed["what"]


def test_a_run_that_only_the_bus_has_is_one_in_all_portions(tmp_path):
    """What only the bus has is told by stretches of it, wherever portions begin.

    archive    [0 1 2 3 ·  ·  ·)[·  ·  · 36 … 39]        each segment is a portion
    bus         0 1 2 3 4 … 18        21 … 35 36 … 39
    """
    drawn = {"high": 40, "low": 0, "end": 60, "per": 4, "unarchived": {*range(4, 36)}, "unbussed": {19, 20}, "forged": set(), "ids": 90}
    make_stream(tmp_path, drawn, "full")
    path = tmp_path / "archive/index.json"
    index = json.loads(path.read_text())
    left, right = index["segments"]
    left["next_offset"] = right["first_offset"] = "20"
    path.write_text(json.dumps(index))
    log = make_stream_again(tmp_path, "full").reading((Range("t1", 0, "kafka_offset", "log1", "0", "60"),), SOURCES)
    with cut(1):
        whole, _, _ = replay([log], task(), tmp_path / "plain", in_files=True)
        assert replay([log], task(), tmp_path / "work", in_files=True, place=tmp_path / "kept")[0] == whole
    assert len(list((tmp_path / "kept").iterdir())) > 3
    assert [(one.stretches, one.count) for one in whole[0].findings] == [((("4", "36"),), 30)]


class Asked:
    """A place where nothing is kept, and that knows which portions it was asked for."""

    def __init__(self):
        self.digests = []

    def start(self):
        """The log is read in portions."""

    def has(self, digest):
        """It is not."""
        self.digests.append(digest)
        return False

    def begin(self, digest, before):
        """It is read."""

    def end(self, told):
        """It was."""


def digests(log, *, run="run1", scenarios=(), sources=SOURCES):
    """The portions of a log of twenty-one records, seven each, by what a scan of it asks for."""
    asked = Asked()
    with cut(7):
        log.scan(Scope.of(run, scenarios, sources), lambda *_: None, asked)
    assert len(set(asked.digests)) == 3
    return asked.digests


def test_what_is_pinned_or_wanted_otherwise_is_another_portion(tmp_path):
    """The file and what its index says, run, scenario runs, admitted types, fields, zone and clocks decide what a portion is.

    Neighbours do not, nor does the part of a range that lies elsewhere.

    portions   [0 ── 7)[7 ── 14)[14 ── 21)        asked for [1, 20): the first and the last are others
    """
    (log,) = pinned(tmp_path / "log", numbered(21), "jsonl")
    (other,) = pinned(tmp_path / "other", numbered(21, platform_run_id="run2"), "jsonl")
    usual = digests(log)
    narrower = tuple(replace(one, fields=one.fields[:1]) for one in SOURCES)
    elsewhere = (replace(SOURCES[0], event_types=("a",)), SOURCES[1])
    for said, changed in {
            "file": digests(other), "run": digests(log, run="run2"), "scenario runs": digests(log, scenarios=("s1",)),
            "types": digests(log, sources=elsewhere), "fields": digests(replace(log, typings=typings_of(narrower, None))),
            "zone": digests(replace(log, typings=typings_of(SOURCES, "UTC"))), "name": digests(replace(log, taken="a")),
            "clocks": digests(replace(log, max_ahead_us=10**12))}.items():
        assert set(usual).isdisjoint(changed), said
    within = digests(replace(log, ranges=(replace(log.ranges[0], start_offset="1", end_offset="20"),)))
    assert [one == before for one, before in zip(within, usual, strict=True)] == [False, True, False]
    with cut(7):
        def pins(*stretches):
            return [one.digest for one in portions.portions_of(stretches, log.ranges, {})]
        first, second = log.stretches[:2]
        assert pins(first, second) == [*pins(first), *pins(second)]
        entry = json.loads((tmp_path / "log/index.json").read_text())["segments"][0]
        for changed in ({"lifting": lifting_of(V0, "t1", "run1", None)}, {"asked": ((1, 7),)}, {"entries": (IndexedSegment(**entry),)},
                        {"evidence": replace(first.evidence, next_offset="8")}):
            assert pins(replace(first, **changed)) != pins(first)


def test_what_is_compared_decides_a_portion_too(tmp_path):
    """A sample and a full comparison find other things, and so do two holders of which one is compacted; the rest of a log is the same.

    archive    [seg)[seg)[seg)[seg)
    bus        ──────── compared ────────│── read ──▶
    """
    drawn = {"high": 40, "low": 0, "end": 60, "per": 5, "unarchived": set(), "unbussed": set(), "forged": set(), "ids": 90}
    wanted = (Range("t1", 0, "kafka_offset", "log1", "0", "60"),)

    def cut_up(log):
        with cut(5):
            found = portions.portions_of(log.reading(wanted, SOURCES).stretches, wanted, {})
        compared = {one.digest for one in found if any(isinstance(held, ComparedStretch) for held in one.stretches)}
        return compared, {one.digest for one in found} - compared
    (sample, rest), (full, again) = (cut_up(make_stream(tmp_path / mode, drawn, mode)) for mode in ("sample", "full"))
    assert (len(sample), len(full)) == (4, 4)
    assert sample.isdisjoint(full)
    assert rest == again
    assert rest
    BusFolder(tmp_path / "full/bus").compact(0, {3}, topic="t1")
    compacted, _ = cut_up(make_stream_again(tmp_path / "full", "full"))
    assert compacted
    assert compacted.isdisjoint(full)


def test_two_who_read_the_same_do_not_meet(tmp_path):
    """Attempts of one run at one time make the same folders: the second keeps its own until it ends, and both say the same.

    first     ──begins─────────────────ends──▶
    second          ──begins──ends──▶
    """
    (log,) = pinned(tmp_path / "log", numbered(35), "jsonl")
    place, said = tmp_path / "kept", []
    with cut(7):
        plain, _, _ = replay([log], task(), tmp_path / "plain", in_files=True)
        with closing(KeptFolders(place)) as first:
            first.begin()
            aside = set(place.iterdir())
            assert len(aside) == 1
            made = first.make("sha256:" + "0" * 64)
            said.append(replay([log], task(), tmp_path / "second", in_files=True, place=place)[0])
            assert aside <= set(place.iterdir())  # it is held
            first.finish(made, {"coordinates": 0})
            with Database(tmp_path) as database, patch.object(first, "glance", lambda digest: None):
                sizes = replace(fit(task(), 0, 10**9), in_files=True)
                (tmp_path / "first").mkdir()
                said.append(told(*store_events(database, [log], task(), Folder(tmp_path / "first"), sizes, kept=first)))
    assert said == [plain, plain]
    assert sorted(one.name[0] for one in place.iterdir()) == sorted(one.name[0] for one in place.iterdir() if one.name[0] != ".")
    assert len(list(place.iterdir())) == 6


def test_what_a_killed_process_left_aside_goes_with_the_next_one(tmp_path):
    """A folder that nobody holds any more is removed by whoever opens the place."""
    (tmp_path / ".1-0/0").mkdir(parents=True)
    with closing(KeptFolders(tmp_path)) as kept:
        kept.begin()
        assert [one.name for one in tmp_path.iterdir() if one.name == ".1-0"] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("in_files", [False, True])
def test_a_build_in_memory_goes_on_where_nothing_can_be_kept(tmp_path, in_files):
    """Without room to keep what was read, a build in memory does without; one that works in files fails by a code, and says where."""
    (log,) = pinned(tmp_path / "log", numbered(35), "jsonl")
    with cut(7):
        plain, _, _ = replay([log], task(), tmp_path / "plain", in_files=in_files)
        with patch("offline_feature_plane.engines.local.history.kept.json.dump", side_effect=OSError(28, "No space left on device")):
            said, _, _ = replay([log], task(), tmp_path / "work", in_files=in_files, place=tmp_path / "kept")
    if in_files:
        assert (said["code"], "No space left on device" in said["what"]) == ("STORAGE_IO_FAILURE", True)
    else:
        assert said == plain


def test_a_bus_that_broke_off_is_asked_again(tmp_path):
    """What was read while a bus could not be compared is not kept: the next attempt compares it.

    archive    [0 ──────────────── 40)
    bus          ✗ away, then there
    """
    drawn = {"high": 40, "low": 0, "end": 60, "per": 5, "unarchived": set(), "unbussed": set(), "forged": {7}, "ids": 90}
    log = make_stream(tmp_path, drawn, "full").reading((Range("t1", 0, "kafka_offset", "log1", "0", "40"),), SOURCES)
    bus = BusFolder(tmp_path / "bus")
    with cut(5):
        whole, _, _ = replay([log], task(), tmp_path / "plain", in_files=True)
        bus.go_down()
        away, _, _ = replay([log], task(), tmp_path / "first", in_files=True, place=tmp_path / "kept")
        assert [one.reason for one in away[0].findings] == ["overlap_not_compared"]
        bus.go_down(is_down=False)
        again, taken, _ = replay([log], task(), tmp_path / "second", in_files=True, place=tmp_path / "kept")
        assert (again, taken) == (whole, 0)
    assert [(one.reason, one.count) for one in again[0].findings] == [(ReplayBasisMismatch.code, 1)]


SPOTS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.sampled_from(["a", "b"])), max_size=300)


@settings(max_examples=50, deadline=None)
@given(steps=SPOTS, cuts=st.sets(st.integers(0, 300), max_size=5), most=st.integers(1, 4))
def test_findings_of_parts_are_those_of_the_whole(steps, cuts, most):
    """Noted one by one or part by part, stretches, counts, ends and what is omitted are the same.

    spots    ──x─xx────x│xx───x────│──xx──▶
    """
    lane, at, spots = ("t", 0, "kafka_offset", "l"), 0, []
    for gap, count, reason in steps:
        at += gap
        spots.append(Spot(reason, at, f"at {at}", at + count - 1, count))
        at += count - 1
    with patch("offline_feature_plane.domain.findings.MOST_STRETCHES", most):
        whole, parts, part = Findings(), Findings(), Findings()
        for number, spot in enumerate(spots):
            whole.note(spot, lane)
            if number in cuts:
                parts.follow(part.told())
                part = Findings()
            part.note(spot, lane)
        parts.follow(part.told())
    assert parts.told() == whole.told()


def alone(marks, most_first=0):
    """What only the other holder has, as an overlap tells it: `x` only theirs, `m` met."""
    runs, is_open, follows = [], None, False
    for at, mark in enumerate(marks, most_first):
        if mark == "m":
            is_open = False
        elif mark == "x":
            if not runs:
                follows = is_open is None
            if runs and is_open:
                runs[-1] = replace(runs[-1], last=at, count=runs[-1].count + 1)
            else:
                runs.append(Spot("r", at))
            is_open = True
    return Alone(tuple(runs), marks.count("u"), follows, is_open, is_last=False)


@settings(max_examples=80, deadline=None)
@given(marks=st.text("xmu", max_size=30), cuts=st.sets(st.integers(0, 30), max_size=6))
def test_what_only_one_has_is_the_same_in_parts(marks, cuts):
    """Runs that go on across a border are one, whatever lies in a part.

    x: only the bus has it   m: met   u: the archive cannot decode it      x x │ x m u │ u │ x x │ x
    """
    ends = [*sorted(one for one in cuts if one < len(marks)), len(marks)]
    found, start = Alone(is_last=False), 0
    for end in ends:
        found, start = found.then(alone(marks[start:end], start)), end
    assert found == alone(marks)
    assert Alone.from_document(json.loads(json.dumps(found.document()))) == found
